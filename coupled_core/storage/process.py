"""Tells a process that is dead for certain from one that is only silent, on the same machine.

A killed command that is started again need not wait until its own former self counts as lost.
"""

import os
import socket
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")


def host_name() -> str:
    """Return what people call this machine."""
    return socket.gethostname()


def describe_process() -> str:
    """Return what no other process ever shares with this one; empty where /proc does not tell."""
    started_at = _started_at(os.getpid())
    return f"{_machine()}:{os.getpid()}:{started_at}" if _machine() and started_at else ""


def is_known_dead(process: str) -> bool:
    """Say whether a described process is surely gone: it ran here, and is not there any more."""
    machine, _, rest = process.rpartition(":")[0].rpartition(":")
    if not machine or machine != _machine() or not rest.isdigit():
        return False  # of another machine, or another container: only its beats can tell
    return _started_at(int(rest)) != process.rpartition(":")[2]


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return the boot of this machine and the namespace that our process ids belong to."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started_at(process_id: int) -> str:
    """Return when a process began, in clock ticks since the boot; empty: there is none that runs.

    Process ids are given again; together with the moment of the start they are unique.
    """
    try:
        state, *rest = (_PROC / f"{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]
