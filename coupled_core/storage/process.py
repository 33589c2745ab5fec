"""Tells a process that is dead for certain from one that is only silent, on the same machine.

A killed command that is started again need not wait until its own former self counts as lost.
"""

import os
import re
import socket
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
_PROCESS_ID = re.compile(r"[0-9]{1,7}", re.ASCII)  # Linux gives out 22 bits


def host_name() -> str:
    """Return what people call this machine; what is not UTF-8 in it comes as question marks."""
    return socket.gethostname().encode(errors="replace").decode()


def describe_process() -> str:
    """Return what no other process ever shares with this one; empty where /proc does not tell."""
    started_at = _started_at(os.getpid())
    return f"{_machine()}:{os.getpid()}:{started_at}" if _machine() and started_at else ""


def is_known_dead(process: str) -> bool:
    """Say whether a described process is surely gone: it ran here, and is not there any more."""
    # The machine's own description holds colons, so the fields are taken from the end.
    machine, _, rest = process.rpartition(":")[0].rpartition(":")
    if not machine or machine != _machine() or not _PROCESS_ID.fullmatch(rest):
        return False  # of another machine, or another container: only its beats can tell
    started_at = _started_at(int(rest))
    if started_at is None:
        return not _exists(int(rest))
    return started_at != process.rpartition(":")[2]


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return the boot of this machine and the namespace that our process ids belong to."""
    try:
        # Process ids begin anew with each boot, and containers of one machine number their own.
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _exists(process_id: int) -> bool:
    """Say whether there is a process; where /proc hides those of other users (hidepid), too."""
    try:
        # Signal 0 is not delivered; the kernel only says whether it could be.
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True


def _started_at(process_id: int) -> str | None:
    """Return when a process began, in clock ticks since the boot.

    Empty: it has ended and nobody has asked how. None: /proc shows no such process. Process ids are
    given again; together with the moment of the start they are unique.
    """
    try:
        # The second field is the name of the program, which may hold spaces and brackets: what
        # follows its last bracket is split. The start is field 22 of proc(5).
        state, *rest = (_PROC / f"{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie has ended and still has its entry.
    return "" if state in "ZX" else rest[18]
