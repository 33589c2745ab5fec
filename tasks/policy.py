"""When a task is tried again: storage may recover in a moment, everything else is permanent."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from coupled_core.errors import is_passing
from coupled_core.redaction import clean_error
from tasks.logs import logged_run

P = ParamSpec("P")
R = TypeVar("R")


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Say whether the same call may succeed a little later."""
    return is_passing(state.data)  # of a failed run: its exception


def without_secrets(function: Callable[P, R]) -> Callable[P, R]:
    """Clean what a function raises, with its causes: Prefect writes that down and stores it."""

    @wraps(function)
    def cleaned(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            failure = clean_error(error)
        # Out of the except block: raised inside, it would carry the error that holds the secret as
        # its context.
        raise failure

    return cleaned


def stage_task(
    name: str, retries: int = 4, run_name: str | None = None
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that survives outages of the store, half a minute with 4 retries.

    Nothing is cached or persisted: stages find their finished work in the dataset's work folder.

    Args:
        retries: Further tries after a passing failure, each after twice the pause and some jitter.
        run_name: Of its runs, with `{parameters}`; None: the task's name and a number.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def logged(*args: P.args, **kwargs: P.kwargs) -> R:
            with logged_run():
                return function(*args, **kwargs)

        as_task = task(
            name=name,
            task_run_name=run_name,
            retries=retries,
            retry_delay_seconds=exponential_backoff(2),
            retry_jitter_factor=0.5,
            retry_condition_fn=is_transient,
            persist_result=False,
            cache_policy=NO_CACHE,
        )
        return as_task(without_secrets(logged))

    return decorate
