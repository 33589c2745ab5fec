"""Which processes are dead for certain."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coupled_core.storage import process
from coupled_core.storage.process import describe_process, is_known_dead

pytestmark = pytest.mark.skipif(not describe_process(), reason="the system does not tell")


def _of(process_id: int) -> str:
    machine = describe_process().rsplit(":", 2)[0]
    return f"{machine}:{process_id}:1"


def test_a_process_that_has_ended_is_dead_and_one_with_its_number_is_another() -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    assert is_known_dead(_of(ended.pid))
    assert is_known_dead(_of(os.getpid()))
    assert not is_known_dead(describe_process())


def test_a_process_that_proc_hides_from_us_is_not_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = describe_process()
    monkeypatch.setattr(process, "_PROC", tmp_path)  # as with hidepid, which shows our own alone
    assert not is_known_dead(described)


@pytest.mark.parametrize("process_id", ["", "x", "\u00b2", "9" * 20])
def test_what_is_no_process_is_not_called_dead(process_id: str) -> None:
    machine = describe_process().rsplit(":", 2)[0]
    assert not is_known_dead(f"{machine}:{process_id}:1")
    assert not is_known_dead(process_id)
