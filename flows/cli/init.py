"""`coupled init`: a prompt set to begin with."""

import shlex
from pathlib import Path
from typing import Annotated

from coupled_core.errors import ConfigError
from flows.cli.command import argument, command, option
from flows.cli.terminal import Terminal

_DEFAULT = Path("prompts.csv")


@command(
    examples="""
    coupled init
    coupled init prompts.jsonl
    """
)
def init(
    terminal: Terminal,
    file: Annotated[
        Path | None, argument("[FILE]", "Ends in .csv, .tsv or .jsonl. Default: prompts.csv.")
    ] = None,
    force: Annotated[bool, option("Replace the file if there is one.")] = False,
) -> None:
    """Write an example prompt set to edit: three groups, with every column explained in comments.

    `coupled validate` and `coupled build` take it as it is, comments included.
    """
    from coupled_core.prompts.example import make_example

    path = file or _DEFAULT
    text = make_example(path.name)
    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="") as handle:
            handle.write(text)
    except FileExistsError as error:
        raise ConfigError(
            f"{path} exists: name another file, or replace it with --force"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    quoted = shlex.quote(str(path))
    commands = [f"coupled validate {quoted}", f"coupled build --prompts {quoted}"]
    lines = [f"wrote {path}. Edit it, then type:", *(f"  {each}" for each in commands)]
    terminal.answer("\n".join(lines), {"file": str(path), "next": commands})
