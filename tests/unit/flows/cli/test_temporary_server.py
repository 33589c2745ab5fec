"""The server of one command is gone when the command is, however it ended."""

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.cli.prefect_environment import ServerUnavailableError
from flows.cli.temporary_server import (
    ServerProcess,
    _everywhere,
    stop_server,
    wait_for_server,
)

CODE = """
from flows.cli.temporary_server import start_server, wait_for_server
print(wait_for_server(start_server(), 200), flush=True)
input()
"""
SESSION = """
import subprocess, sys, threading
from prefect import get_client
from prefect.settings import PREFECT_API_URL
from flows.cli.temporary_server import flow_session
from flows.cli.terminal import Terminal
ask = "from prefect.settings import PREFECT_API_URL; print(PREFECT_API_URL.value())"
with flow_session(Terminal(), "flows.policy", "nothing"):
    print(PREFECT_API_URL.value(), flush=True)
    thread = threading.Thread(target=lambda: print(PREFECT_API_URL.value(), flush=True))
    thread.start()
    thread.join()
    subprocess.run([sys.executable, "-c", ask], check=True)
    with get_client(sync_client=True) as client:
        print(client.hello().status_code)
"""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+b") as errors:
        program = [sys.executable, "-c", "raise SystemExit('no room\\nno database')"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        server = ServerProcess(subprocess.Popen(program, **pipes), errors)
        with pytest.raises(ServerUnavailableError, match=r"ended with code 1 .*\(no database\)"):
            wait_for_server(server, 60)
        stop_server(server)


def test_a_server_that_says_nothing_is_not_awaited_for_ever(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+b") as errors:
        program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        server = ServerProcess(subprocess.Popen(program, **pipes), errors)
        watchdog = threading.Timer(20, server.process.kill)
        watchdog.start()
        with pytest.raises(ServerUnavailableError, match="did not answer within 0 s"):
            wait_for_server(server, 0.3)
        assert watchdog.is_alive()
        watchdog.cancel()
        stop_server(server)


@pytest.mark.timeout(300)
def test_the_files_of_a_killed_server_go_when_the_next_one_starts_and_its_own_with_its_parent(
    tmp_path: Path,
) -> None:
    with _running(tmp_path) as (parent, _):
        [litter] = tmp_path.iterdir()
        assert (litter / "prefect.db").exists()
        for server in psutil.Process(parent.pid).children():
            server.kill()
    assert litter.exists()
    with _running(tmp_path) as (parent, url):
        [home] = tmp_path.iterdir()
        assert home != litter
        assert _answers(url)
        parent.send_signal(signal.SIGKILL)
    assert not _answers(url)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `SESSION` said, with proxies that do not answer, and where its server's files lay."""
    folder = tmp_path_factory.mktemp("session")
    dropped = ("_proxy", "prefect_api_url")
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith(dropped)}
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY")
    environment |= {"NO_PROXY": "example.org"} | dict.fromkeys(names, "http://127.0.0.1:9")
    environment |= {"TMPDIR": str(folder)}
    command = [sys.executable, "-c", SESSION]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout, folder


@pytest.mark.timeout(240)
def test_our_own_server_is_not_asked_through_a_proxy(session: tuple[str, Path]) -> None:
    assert session[0].split()[3:] == ["200"]


@pytest.mark.timeout(240)
def test_threads_and_worker_processes_find_the_server_and_start_none_of_their_own(
    session: tuple[str, Path],
) -> None:
    here, *elsewhere = session[0].split()[:3]
    assert here.startswith("http://127.0.0.1:")
    assert elsewhere == [here, here]


@pytest.mark.timeout(240)
def test_a_server_leaves_no_files(session: tuple[str, Path]) -> None:
    assert list(session[1].glob("coupled-*")) == []


@contextmanager
def _running(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a server of a process of its own, and yield both; its files lie in a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        url = parent.stdout.readline().strip()
        assert url.startswith("http://")
        servers = psutil.Process(parent.pid).children()
        yield parent, url
        parent.stdin.close()
    psutil.wait_procs(servers, timeout=60)


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def test_variables_come_back_as_they_were_and_all_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUPLED_TEST_BEFORE", "old")
    monkeypatch.setenv("COUPLED_TEST_OTHER", "old")
    with _everywhere({"COUPLED_TEST_BEFORE": "new", "COUPLED_TEST_UNSET": "new"}):
        assert os.environ["COUPLED_TEST_BEFORE"] == os.environ["COUPLED_TEST_UNSET"] == "new"
        os.environ["COUPLED_TEST_OTHER"] = "set by a library"
    assert os.environ["COUPLED_TEST_BEFORE"] == "old"
    assert "COUPLED_TEST_UNSET" not in os.environ
    assert os.environ["COUPLED_TEST_OTHER"] == "set by a library"
