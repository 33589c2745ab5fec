"""Every error this project raises on purpose.

    CoupledError
    ├── ConfigError            a setting or an argument is wrong, or settings do not go together
    ├── PromptSetError         the prompt set is not readable or holds bad rows
    ├── ModelUnavailableError  weights are missing, gated, or do not load
    ├── ScheduleError          a schedule file is wrong or does not fit the model or mode
    ├── LlmError               the language model's API refused us or could not be reached
    │   └── LlmBudgetError     the next request could pass the run's cap on spending
    ├── StorageError           an object could not be read or written
    │   ├── NotFoundError      it does not exist
    │   └── ConflictError      a conditional write lost against another writer
    ├── LeaseLostError         another worker has taken over what this one was working on
    ├── NodeLostError          the machine that a run sends its work to is gone
    └── DatasetError           a dataset contradicts itself or the run that wants to write to it

A rejected pair is not an error: it is a manifest row with a reason; `filters` explains them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from coupled_core.redaction import redact


class CoupledError(Exception):
    """Base of all errors that a user can act on; the text says what is wrong and what to do.

    Secrets that a library's text brought along are taken out of it.
    """

    must_repeat = False
    """Whatever else is begun with the same settings would meet it, too, until somebody acts."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redact(each) if isinstance(each, str) else each for each in args))


class ConfigError(CoupledError):
    """A setting is wrong."""

    must_repeat = True


class PromptSetError(CoupledError):
    """The prompt set cannot be used as it is."""


class ModelUnavailableError(CoupledError):
    """A model could not be loaded."""

    must_repeat = True


class ScheduleError(CoupledError):
    """A schedule cannot be used."""

    must_repeat = True


class LlmError(CoupledError):
    """A language model cannot be asked now; what was answered and paid for is kept."""

    must_repeat = True


class LlmBudgetError(LlmError):
    """The cap on spending is reached; every run has a cap of its own."""

    must_repeat = False


class StorageError(CoupledError):
    """An object could not be read or written."""


class NotFoundError(StorageError):
    """An object does not exist."""


class ConflictError(StorageError):
    """A conditional write lost against another writer."""


class LeaseLostError(CoupledError):
    """Another worker has taken over the work: this one was silent for too long, and stops."""


class NodeLostError(CoupledError):
    """The machine that a run sends its work to is gone; that says nothing about the work."""

    must_repeat = True


class DatasetError(CoupledError):
    """The dataset is in a state that forbids the operation."""


@contextmanager
def at_stage(stage: str) -> Iterator[None]:
    """Let any error that leaves the `with` know where it happened, for `stage_of`."""
    try:
        yield
    except Exception as error:
        # The innermost stage comes first, and stays. In __dict__, which travels along when the
        # error is pickled between processes.
        error.__dict__.setdefault("stage", stage)
        raise


def stage_of(error: BaseException) -> str | None:
    """Return the innermost stage that an error left, in this process or another; None: unknown."""
    stage: str | None = getattr(error, "stage", None)
    return stage


def must_repeat(error: BaseException) -> bool:
    """Say whether any other work with the same settings would fail in the same way."""
    return isinstance(error, CoupledError) and error.must_repeat


def is_passing(error: object) -> bool:
    """Say whether the same call may succeed a little later: the store may recover."""
    return isinstance(error, StorageError) and not isinstance(error, NotFoundError)
