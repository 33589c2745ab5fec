"""How commands speak to whoever started them: results, errors, progress, exit codes."""

import errno
import json
import logging
import os
import shutil
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
from coupled_core.log_fields import AddFields, FieldFormatter
from coupled_core.models.memory import is_out_of_memory
from coupled_core.progress import LogProgress, Progress, SilentProgress, StagePace, report_to
from coupled_core.redaction import clean_error, redact
from flows.cli.labelled_lines import fit
from flows.cli.loopback import keep_loopback_direct
from flows.interrupts import stopped_by_signals


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
        if self.as_json:
            text = json.dumps(document, indent=2, default=_plain)
        elif sys.stdout.isatty():
            text = fit(text, shutil.get_terminal_size().columns)
        with told_when_output_fails():
            print(text, flush=True)

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
    # Before anything heavy is imported: libraries read these variables once.
    _configure_logging(terminal)
    keep_loopback_direct()
    try:
        yield terminal
    except CoupledError as error:
        _report(terminal, error, str(error))
        raise SystemExit(exit_code_of(error)) from error
    except KeyboardInterrupt as error:
        terminal.complain("interrupted")
        raise SystemExit(ExitCode.INTERRUPTED) from error
    except Exception as error:
        code, text = _name_unexpected(error)
        hint = "" if terminal.debug else "; run it again with --debug for the traceback"
        _report(terminal, error, text if code is not None else f"{text}{hint}")
        raise SystemExit(ExitCode.UNEXPECTED if code is None else code) from error


def exit_code_of(error: CoupledError) -> ExitCode:
    """Return the code with which a command ends for an error of ours."""
    codes = (code for kind, code in _CODES if isinstance(error, kind))
    return next(codes, ExitCode.UNEXPECTED)


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
        os.environ.setdefault(name, value)  # whoever has set one wants it so
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        FieldFormatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    handler.addFilter(AddFields())
    logging.basicConfig(level="WARNING", handlers=[handler])
    # It prints its lines itself, and would have us print them again.
    logging.getLogger("huggingface_hub").propagate = False
    # Where torchao is installed it speaks of torchao's own enumerations at each start.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    level = logging.ERROR if terminal.quiet else logging.INFO
    logging.getLogger("coupled_core").setLevel(level)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console
    from rich.table import Column

    columns = (
        rich.TextColumn("{task.description:<8}"),
        rich.BarColumn(bar_width=12),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[pace]}"),
        # Last, and cut where the terminal ends: a line that wraps would be drawn over the next.
        rich.TextColumn(
            "{task.fields[remark]}", markup=False, table_column=Column(no_wrap=True, ratio=1)
        ),
    )
    for handler in logging.getLogger().handlers:  # the bars say it; a server still hears it
        handler.setLevel(logging.WARNING)
    with rich.Progress(*columns, console=Console(stderr=True), expand=True) as bars:
        yield _RichProgress(bars)


class _RichProgress:
    """Bars by stage, with rate and time left."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._paces: dict[str, StagePace] = {}
        self._tasks: dict[str, Any] = {}

    def begin(self, stage: str, total: int) -> None:
        """Show a bar, or change its total."""
        if stage not in self._tasks:
            self._paces[stage] = StagePace()
            self._tasks[stage] = self._bars.add_task(stage, total=total, pace="", remark="")
        self._paces[stage].total = total
        self._bars.update(self._tasks[stage], total=total)

    def extend(self, stage: str, count: int) -> None:
        """Let the bar's end move away."""
        if stage in self._tasks:
            self.begin(stage, self._paces[stage].total + count)

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Move a bar on; stages that nobody began have none."""
        if stage in self._tasks:
            self._paces[stage].advance(count, is_new=is_new)
            self._show(stage, remark="")

    def within(self, stage: str, done: float, text: str) -> None:
        """Move a bar on by a part of the piece under way."""
        if stage in self._tasks:
            self._paces[stage].reach(done)
            self._show(stage, remark=text)

    def remark(self, stage: str, text: str) -> None:
        """Show it at the end of the bar."""
        if stage in self._tasks:
            self._show(stage, remark=text)

    def _show(self, stage: str, remark: str) -> None:
        pace = self._paces[stage]
        fields = {"pace": "  ".join(pace.describe()), "remark": remark}
        self._bars.update(self._tasks[stage], completed=pace.reached, **fields)
