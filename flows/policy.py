"""What all flows have in common."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow, flow, runtime

from coupled_core.progress import current_progress, report_to
from flows.interrupts import stopped_by_signals
from tasks.announce import name_of
from tasks.logs import logged_run
from tasks.policy import without_secrets

P = ParamSpec("P")
R = TypeVar("R")


def observed_flow(name: str, verb: str, place: str) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow: its core's lines reach the server, its errors hold no secrets.

    A run that is told to end does so, even where a library swallows what tells it.

    Nothing is retried here: tasks survive outages, and a flow that is started again goes on where
    it stopped.

    Args:
        verb: What its runs do, for their names.
        place: The parameter that says where they do it; its last part ends their names.
    """

    def name_run() -> str:
        return f"{verb} {name_of(str(runtime.flow_run.parameters[place]))}"

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        @wraps(function)
        def logged(*args: P.args, **kwargs: P.kwargs) -> R:
            with (
                logged_run(),
                stopped_by_signals(current_progress()) as progress,
                report_to(progress),
            ):
                return function(*args, **kwargs)

        made: Any = flow(name=name, flow_run_name=name_run, persist_result=False)
        return cast(Flow[P, R], made(without_secrets(logged)))

    return decorate
