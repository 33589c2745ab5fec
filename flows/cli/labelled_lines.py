"""Answers of labels and values: counts in words, and lines broken where a terminal is narrow."""

import re
import textwrap

_LABEL = re.compile(r"(?:\S+(?: \S+)*)?\s{2,}")
_MAX_LABEL = 32
"""Labels and the gaps after them; more is no room for a value beside it."""


def fit(text: str, width: int) -> str:
    """Return a text whose labelled lines go on beneath their values; others stay as they are.

    Args:
        text: Lines such as `disk    53 GB free`: a label, two spaces or more, a value. Commands
            and paths on lines of their own have no label, so that they can be copied.
        width: Columns of the terminal.
    """
    return "\n".join(_fit_line(line, width) for line in text.split("\n"))


def _fit_line(line: str, width: int) -> str:
    indent = 0
    while (found := _LABEL.match(line, indent)) and found.end() <= _MAX_LABEL:
        indent = found.end()
    if not indent or len(line) <= width or width < indent + _MAX_LABEL:
        return line
    return textwrap.fill(
        line[indent:],
        width,
        initial_indent=line[:indent],
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def count_of(number: int, noun: str) -> str:
    """Return a number with what it counts, such as "1 file" and "2,000 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
