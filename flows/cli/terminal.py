"""How commands speak to whoever started them: results, errors, progress, exit codes."""

import errno
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any

import typer

from coupled_core import errors
from coupled_core.errors import CoupledError
from coupled_core.memory import is_out_of_memory
from coupled_core.progress import LogProgress, Progress, SilentProgress, report_to
from coupled_core.redaction import clean_error, redact
from flows.cli.loopback import keep_loopback_direct
from flows.interrupts import stopped_by_signals

_COUNTED_IN_PAIRS = ("generate", "score")


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


EXIT_CODES = (
    "0 done, 1 unexpected, or memory or the Prefect server is missing, 2 wrong usage or bad input, "
    "3 model unavailable, 4 storage, or a dataset that is damaged or forbids it, 5 shards or too "
    "many pairs failed (the others are committed), "
    "6 language model refused, unreachable or at its cap (what is finished is committed), "
    "130 interrupted (run it again)."
)
_SCARCE = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
}
"""What an operating system lacks or forbids, and what to do."""
_CODES: tuple[tuple[type[CoupledError], ExitCode], ...] = (
    (errors.ConfigError, ExitCode.USAGE),
    (errors.PromptSetError, ExitCode.USAGE),
    (errors.ScheduleError, ExitCode.USAGE),
    (errors.ModelUnavailableError, ExitCode.MODEL_UNAVAILABLE),
    (errors.LlmError, ExitCode.LLM),
    (errors.StorageError, ExitCode.STORAGE),
    (errors.DatasetError, ExitCode.STORAGE),
)


def _switch(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, metavar="", rich_help_panel="Run")


@dataclass(frozen=True)
class Terminal:
    """Where a command's words go: results to standard output, the rest to standard error.

    The fields are options of every command.
    """

    as_json: Annotated[
        bool, _switch("Print one JSON document and nothing else on standard output.", "--json")
    ] = False
    quiet: Annotated[
        bool, _switch("Print results and errors only, no progress.", "--quiet", "-q")
    ] = False
    verbose: Annotated[bool, _switch("Show what every task logs.", "--verbose", "-v")] = False
    debug: Annotated[bool, _switch("Show tracebacks.", "--debug")] = False

    def answer(self, text: str, document: Mapping[str, Any]) -> None:
        """Print a result: as text, or with --json as the one document."""
        with told_when_output_fails():
            print(
                json.dumps(document, indent=2, default=_plain) if self.as_json else text, flush=True
            )

    def note(self, text: str) -> None:
        """Print something that is not a result; with --quiet nothing."""
        if not self.quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """Print what went wrong, if anybody can be told."""
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Show what runs inside, bars on a terminal, lines of text elsewhere; stop it at Ctrl-C."""
        shown: AbstractContextManager[Progress]
        if self.quiet:
            shown = nullcontext(SilentProgress())
        elif self.as_json or self.verbose or not sys.stderr.isatty():
            shown = nullcontext(LogProgress())
        else:
            shown = _bars()
        with shown as listener, stopped_by_signals(listener) as progress, report_to(progress):
            yield


@contextmanager
def told_when_output_fails() -> Iterator[None]:
    """Write results to standard output inside; whoever has read enough of them ends us in peace.

    Raises:
        StorageError: they cannot be written.
    """
    try:
        yield
    except OSError as error:
        # What is still buffered would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(ExitCode.OK) from error
        raise errors.StorageError(
            f"the result cannot be written to standard output: {error.strerror}"
        ) from error


@contextmanager
def reported_errors(terminal: Terminal) -> Iterator[Terminal]:
    """Turn errors into one line and an exit code; with --debug the traceback comes first."""
    _configure_logging(terminal)
    keep_loopback_direct()
    try:
        yield terminal
    except CoupledError as error:
        _report(terminal, error, str(error))
        codes = (code for kind, code in _CODES if isinstance(error, kind))
        raise SystemExit(next(codes, ExitCode.UNEXPECTED)) from error
    except KeyboardInterrupt as error:
        terminal.complain("interrupted")
        raise SystemExit(ExitCode.INTERRUPTED) from error
    except Exception as error:
        code, text = _name_unexpected(error)
        hint = "" if terminal.debug else "; run it again with --debug for the traceback"
        _report(terminal, error, text if code is not None else f"{text}{hint}")
        raise SystemExit(ExitCode.UNEXPECTED if code is None else code) from error


def _name_unexpected(error: Exception) -> tuple[ExitCode | None, str]:
    """Return the code and the text of what nobody took over; None: it should not have happened."""
    if is_out_of_memory(error):
        return ExitCode.UNEXPECTED, f"out of memory ({error}): give this process more (ulimit -v)"
    if isinstance(error, OSError) and error.errno in _SCARCE:
        where = f" at {error.filename}" if error.filename else ""
        return ExitCode.STORAGE, f"{error.strerror}{where}: {_SCARCE[error.errno]}"
    return None, f"unexpected {type(error).__name__}: {error}"


def _plain(value: object) -> str:
    """Return what JSON does not know as text; times as ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _report(terminal: Terminal, error: BaseException, text: str) -> None:
    if terminal.debug:
        import traceback

        traceback.print_exception(clean_error(error))
    terminal.complain(f"error: {redact(text)}")


def _configure_logging(terminal: Terminal) -> None:
    """Say how much libraries log; they read it from the environment when they are imported."""
    is_calm = not (terminal.verbose or terminal.debug)
    defaults = {
        "PREFECT_LOGGING_LEVEL": "CRITICAL" if is_calm else "INFO",  # failures are told at the end
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if is_calm:
        defaults |= {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}
        defaults |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    look = "%(asctime)s %(message)s"
    logging.basicConfig(stream=sys.stderr, level="WARNING", format=look, datefmt="%H:%M:%S")
    # It prints its lines itself, and would have us print them again.
    logging.getLogger("huggingface_hub").propagate = False
    level = logging.ERROR if terminal.quiet else logging.INFO
    logging.getLogger("coupled_core").setLevel(level)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description:<16}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]:>9}"),
        rich.TimeElapsedColumn(),
        rich.TextColumn("left"),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[remark]}"),
    )
    for handler in logging.getLogger().handlers:  # the bars say it; a server still hears it
        handler.setLevel(logging.WARNING)
    with rich.Progress(*columns, console=Console(stderr=True)) as bars:
        yield _RichProgress(bars)


class _RichProgress:
    """Bars by stage, with a rate in units a second."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def begin(self, stage: str, total: int) -> None:
        """Show a bar, or change its total."""
        if stage not in self._tasks:
            name = f"pairs: {stage}" if stage in _COUNTED_IN_PAIRS else stage
            self._tasks[stage] = self._bars.add_task(name, total=total, rate="", remark="")
        self._bars.update(self._tasks[stage], total=total)

    def extend(self, stage: str, count: int) -> None:
        """Let the bar's end move away."""
        if stage in self._tasks:
            task = self._tasks[stage]
            self._bars.update(task, total=self._bars.tasks[task].total + count)

    def advance(self, stage: str, count: int = 1) -> None:
        """Move a bar on; stages that nobody began have none."""
        if stage not in self._tasks:
            return
        task = self._tasks[stage]
        self._bars.advance(task, count)
        speed = self._bars.tasks[task].speed
        self._bars.update(task, rate=f"{speed:.2f}/s" if speed else "")

    def remark(self, stage: str, text: str) -> None:
        """Show it at the end of the bar."""
        if stage in self._tasks:
            self._bars.update(self._tasks[stage], remark=text)
