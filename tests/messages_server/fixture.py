"""The loopback server as fixtures: a process each test, with the SDK's environment set to it."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.messages_server.process import RunningServer


@pytest.fixture
def start_messages_server(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., RunningServer]]:
    """Start servers with settings by name, and point the SDK's environment to the newest one."""
    servers: list[RunningServer] = []

    def start(**settings: Any) -> RunningServer:
        server = RunningServer(**settings)
        servers.append(server)
        for name in [name for name in os.environ if name.startswith("ANTHROPIC_")]:
            monkeypatch.delenv(name)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def messages_server(start_messages_server: Callable[..., RunningServer]) -> RunningServer:
    """A server that behaves, apart from what markers in prompts ask for."""
    return start_messages_server()
