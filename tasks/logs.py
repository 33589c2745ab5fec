"""Lets what the core logs reach the Prefect server, beside the run that it belongs to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from coupled_core.log_fields import AddFields, FieldFormatter
from coupled_core.progress import LogProgress, has_listener, report_to

_FIELDS = AddFields()


class _OfThisRun(AddFields):
    """Adds the ids of the run, too: threads of the core do not know in which one they are."""

    def __init__(self) -> None:
        super().__init__()
        task, flow = TaskRunContext.get(), FlowRunContext.get()
        self._task_run = task.task_run if task else None
        self._flow_run_id = flow.flow_run.id if flow and flow.flow_run else None

    def filter(self, record: logging.LogRecord) -> bool:
        inner = TaskRunContext.get()
        task_run = inner.task_run if inner else self._task_run
        record.task_run_id = task_run.id if task_run else None
        record.flow_run_id = task_run.flow_run_id if task_run else self._flow_run_id
        return super().filter(record)


@contextmanager
def logged_run() -> Iterator[None]:
    """Send the core's lines of this run to the server, progress included if nobody shows it.

    The server stores text alone, so the fields stand behind the message; other handlers get them as
    attributes of the records. In a run within another one that does so it does nothing.
    """
    logger = logging.getLogger("coupled_core")
    shown = nullcontext() if has_listener() else report_to(LogProgress())
    if any(isinstance(each, APILogHandler) for each in logger.handlers):
        yield
        return
    # At the handlers, since a logger does not ask its filters about records of the loggers
    # below it.
    for each in logging.getLogger().handlers:
        each.addFilter(_FIELDS)
    handler, level = APILogHandler(), logger.level
    handler.addFilter(_OfThisRun())
    handler.setFormatter(FieldFormatter("%(message)s"))
    logger.addHandler(handler)
    # Else the root's WARNING would hold, and progress is logged as INFO.
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        with shown:
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
