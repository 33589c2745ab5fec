"""Failures of a run as a whole, and the exit codes of the command line."""

from enum import IntEnum
from typing import TYPE_CHECKING

from coupled_core.errors import (
    ConfigError,
    CoupledError,
    DatasetError,
    LlmError,
    ModelUnavailableError,
    PromptSetError,
    ScheduleError,
    StorageError,
)

if TYPE_CHECKING:
    from coupled_core.runs.summary import RunSummary


class ServerUnavailableError(CoupledError):
    """Neither the Prefect server that was named nor a temporary one can be reached."""


class ShardsFailedError(CoupledError):
    """Some shards failed; what the others made is committed."""

    def __init__(self, summary: "RunSummary") -> None:
        super().__init__(
            summary.stopped
            or f"{len(summary.failed_shards)} of {summary.num_shards} shards failed, the others "
            "are committed; run the same command again to build them"
        )
        self.summary = summary


class ExitCode(IntEnum):
    """What `coupled` returns to the shell."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    MODEL_UNAVAILABLE = 3
    STORAGE = 4
    SHARDS_FAILED = 5
    LLM = 6
    INTERRUPTED = 130


_CODES: tuple[tuple[type[CoupledError], ExitCode], ...] = (
    (ConfigError, ExitCode.USAGE),
    (PromptSetError, ExitCode.USAGE),
    (ScheduleError, ExitCode.USAGE),
    (ModelUnavailableError, ExitCode.MODEL_UNAVAILABLE),
    (LlmError, ExitCode.LLM),
    (StorageError, ExitCode.STORAGE),
    (DatasetError, ExitCode.STORAGE),
    (ShardsFailedError, ExitCode.SHARDS_FAILED),
)


def exit_code_of(error: CoupledError) -> ExitCode:
    """Return the exit code that tells a script which kind of error this was."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.UNEXPECTED)
