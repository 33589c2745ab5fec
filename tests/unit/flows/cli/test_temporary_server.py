"""The server of one command is gone when the command is, however it ended."""

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows.cli.temporary_server import (
    ServerProcess,
    ServerUnavailableError,
    stop_server,
    wait_for_server,
)

CODE = """
from flows.cli.temporary_server import start_server, wait_for_server
print(wait_for_server(start_server(), 200), flush=True)
input()
"""


@pytest.mark.timeout(240)
def test_the_server_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert _answers(url)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while _answers(url) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _answers(url)


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+b") as errors:
        program = [sys.executable, "-c", "raise SystemExit('no room\\nno database')"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        server = ServerProcess(subprocess.Popen(program, **pipes), errors)
        with pytest.raises(ServerUnavailableError, match=r"ended with code 1 .*\(no database\)"):
            wait_for_server(server, 60)
        stop_server(server)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
