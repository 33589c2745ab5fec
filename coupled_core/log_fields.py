"""Which run, shard, stage and pair a log record is about, as fields of the record.

Core code says once where it is; every line below carries it, whoever logs it and wherever it goes.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

FIELDS = ("run_id", "shard", "stage", "pair_id")
"""Attributes of a record; empty where nobody has said."""
_current: ContextVar[Mapping[str, str]] = ContextVar("coupled_log_fields", default={})  # noqa: B039


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Let everything that is logged inside carry these fields, beside those from further out."""
    # A new mapping, since the old one is shared with other tasks and threads.
    token = _current.set({**_current.get(), **fields})
    try:
        yield
    finally:
        _current.reset(token)


class AddFields(logging.Filter):
    """Puts the fields on every record that passes a handler; what the caller gave stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        for name in FIELDS:
            if not hasattr(record, name):
                setattr(record, name, _current.get().get(name, ""))
        return True


class FieldFormatter(logging.Formatter):
    """Puts the fields behind the message, for places that store text alone."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `message run_id=... shard=...`."""
        found = [(name, getattr(record, name, "")) for name in FIELDS]
        return " ".join([super().format(record), *(f"{n}={value}" for n, value in found if value)])
