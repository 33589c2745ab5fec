"""Prefect for the length of one command: a server to talk to, settings that fit a terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from flows.cli.temporary_server import start_server, stop_server, wait_for_server

_STARTUP_TIMEOUT = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_DEFAULT_TIMEOUT_SECONDS = 180.0  # ten are usual; two busy cores have been seen to take thirty


@contextmanager
def prefect_session(flow_module: str = "flows.build_dataset") -> Iterator[None]:
    """Run flows inside against the configured server, or against a temporary one.

    Args:
        flow_module: what is imported while a temporary server starts: both take some ten seconds.

    Raises:
        ServerUnavailableError: the temporary server does not start.
    """
    if PREFECT_API_URL.value():
        yield
        return
    process = start_server()
    try:
        import_module(flow_module)
        url = wait_for_server(
            process, float(os.environ.get(_STARTUP_TIMEOUT, _DEFAULT_TIMEOUT_SECONDS))
        )
        settings = {
            PREFECT_API_URL: url,
            PREFECT_LOGGING_TO_API_ENABLED: False,  # gone with the server
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # nobody watches; costs a second a flow
        }
        with temporary_settings(settings):
            yield
    finally:
        stop_server(process)
