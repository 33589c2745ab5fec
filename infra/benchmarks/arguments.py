"""What the programs here say to `--help`: their own docstring, and the default of each option."""

import argparse
import math
import textwrap
from collections.abc import Iterator

_WIDTH = 78


class _Help(argparse.HelpFormatter):
    """Keeps paragraphs apart, and ends an option's line with its default."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(textwrap.fill(each, width) for each in text.split("\n\n"))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        hidden = default is None or default is False or default in (math.inf, argparse.SUPPRESS)
        if hidden or not action.help:
            return action.help
        values = default if isinstance(default, list) else [default]
        return f"{action.help} (default: {' '.join(map(str, values))})"


def build_parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser without options.

    Args:
        text: The program's docstring. What is indented in it are commands: the lines of usage.
    """
    paragraphs = (text or "").strip().split("\n\n")
    commands = [each for each in paragraphs if each.startswith(" ")]
    described = [" ".join(each.split()) for each in paragraphs if not each.startswith(" ")]
    return argparse.ArgumentParser(
        usage="\n       ".join(_wrap_commands(commands)).replace("%", "%%") or None,
        description="\n\n".join(described),
        formatter_class=_Help,
    )


def _wrap_commands(paragraphs: list[str]) -> Iterator[str]:
    """Yield each command in lines that fit; further lines of one are indented more."""
    for command in "\n".join(paragraphs).replace("\n        ", " ").splitlines():
        words = " ".join(command.split())
        wrapped = textwrap.wrap(words, _WIDTH - 7, break_long_words=False, break_on_hyphens=False)
        yield "\n           ".join(wrapped)
