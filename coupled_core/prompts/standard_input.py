"""Standard input as a prompt set: kept in a file, because a run reads its prompts twice."""

import atexit
import shutil
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import BinaryIO

from coupled_core.errors import PromptSetError
from coupled_core.prompts.formats import guess_ending
from coupled_core.storage.scratch import scratch_folder

STANDARD_INPUT = "-"
"""Stands for standard input where a location is expected."""
STANDARD_INPUT_NAME = "<stdin>"
"""Its name in errors and in `source_file`."""
_HEAD_BYTES = 1 << 16


def keep_standard_input() -> Path:
    """Return a file with all of standard input, named by its format, until the process ends.

    Raises:
        PromptSetError: nothing is piped into the process.
    """
    stream = sys.stdin
    if stream is None or stream.closed or stream.isatty():
        raise PromptSetError(
            "nothing is piped into standard input: expected a prompt set there, as in "
            "`coupled build --prompts - < prompts.csv`"
        )
    return _keep(stream.buffer)


@cache  # a stream can be read once, and is asked for by each pass over the set
def _keep(stream: BinaryIO) -> Path:
    kept = ExitStack()
    path = kept.enter_context(scratch_folder("stdin")) / "stdin"
    atexit.register(kept.close)
    with path.open("wb") as file:
        shutil.copyfileobj(stream, file)
    with path.open("rb") as file:
        ending = guess_ending(file.readlines(_HEAD_BYTES))
    # By its ending like any other file, so that no reader has to know where it came from.
    return path.rename(path.with_suffix(ending))
