"""Which failures a task tries again; real Prefect states, no server."""

import pytest
from prefect.states import Failed

from coupled_core.errors import ConflictError, ModelUnavailableError, NotFoundError, StorageError
from tasks.policy import is_transient, stage_task


@stage_task("nothing")
def _nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StorageError("503"), True),
        (ConflictError("412"), True),
        (NotFoundError("gone"), False),
        (ModelUnavailableError("gated"), False),
        (RuntimeError("out of memory"), False),
    ],
)
def test_only_storage_is_tried_again(error: Exception, expected: bool) -> None:
    assert is_transient(_nothing, None, Failed(data=error)) is expected  # type: ignore[arg-type]


def test_no_result_of_a_task_is_persisted() -> None:
    assert _nothing.persist_result is False
