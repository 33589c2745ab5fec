"""When a task is tried again: storage may recover in a moment, everything else is permanent."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from coupled_core.errors import NotFoundError, StorageError
from coupled_core.redaction import clean_error

P = ParamSpec("P")
R = TypeVar("R")


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Say whether the same call may succeed a little later."""
    error = state.data
    return isinstance(error, StorageError) and not isinstance(error, NotFoundError)


def stage_task(name: str, retries: int = 4) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that survives outages of the store, half a minute with 4 retries.

    Nothing is cached or persisted: stages find their finished work in the dataset's work folder.
    Prefect writes down what a task raises, with its causes: no secret leaves a task that way.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def without_secrets(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                failure = clean_error(error)
            raise failure

        as_task = task(
            name=name,
            retries=retries,
            retry_delay_seconds=exponential_backoff(2),
            retry_jitter_factor=0.5,
            retry_condition_fn=is_transient,
            persist_result=False,
            cache_policy=NO_CACHE,
        )
        return as_task(without_secrets)

    return decorate
