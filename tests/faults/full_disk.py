"""A real full disk and a real read-only one, mounted in a namespace of our own.

Run as a program inside `unshare`: `python -m tests.faults.full_disk FOLDER`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from coupled_core.errors import CoupledError
from coupled_core.storage.local import LocalStore
from tests.faults.disturbances import Reader, Tally, check, reader, take_report
from tests.faults.operations import OPERATIONS, Template, make_template
from tests.forks import FORKS

_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
_DISK_BYTES = 1 << 20
_STEP_BYTES = 4096


def can_mount() -> bool:
    """Say whether this system lets us mount in a namespace of our own."""
    if shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = [*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", folder]
        return subprocess.run(command, capture_output=True).returncode == 0


def run_in_namespace() -> Tally:
    """Start this program in a namespace and return what it found."""
    import json

    with tempfile.TemporaryDirectory() as folder:
        command = [*_UNSHARE, sys.executable, "-m", "tests.faults.full_disk", folder]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Tally(**json.loads(done.stdout))


def _mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(folder)], check=True)


def _full_disk(template: Template, folder: Path, free_bytes: int, watcher: Reader) -> Tally:
    """Let an operation run out of space when it has written `free_bytes`."""
    tally, what = Tally(injections=1), f"{template.operation.name}, {free_bytes} bytes free"
    _mount(folder, "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs")
    try:
        store = LocalStore(folder / "data")
        template.copy_to(store)
        store.write("current.lock", b"")  # so that the folder exists in a first commit, too
        watcher.watch(store.uri, template)
        filler = folder / "filler"
        free = shutil.disk_usage(folder).free
        filler.write_bytes(b"x" * max(0, free - free_bytes))
        _try(tally, template, store)
        check(tally, template, store, what, is_done=False)
        filler.unlink()
        template.operation.act(store)
        check(tally, template, store, f"{what}, repeated", is_done=True)
    finally:
        take_report(tally, watcher)
        subprocess.run(["umount", str(folder)], check=True)
    return tally


def _read_only(template: Template, folder: Path, watcher: Reader) -> Tally:
    tally, what = Tally(injections=1), f"{template.operation.name}, read-only"
    _mount(folder, "-t", "tmpfs", "tmpfs")
    try:
        store = LocalStore(folder / "data")
        template.copy_to(store)
        store.write("current.lock", b"")
        watcher.watch(store.uri, template)
        _mount(folder, "-o", "remount,ro")
        _try(tally, template, store)
        check(tally, template, store, what, is_done=False)
        if tally.survived:
            tally.problems.append(f"{what}: it succeeded")
        _mount(folder, "-o", "remount,rw")
        template.operation.act(store)
        check(tally, template, store, f"{what}, repeated", is_done=True)
    finally:
        take_report(tally, watcher)
        subprocess.run(["umount", str(folder)], check=True)
    return tally


def _try(tally: Tally, template: Template, store: LocalStore) -> None:
    try:
        template.operation.act(store)
        tally.survived += 1
    except CoupledError as error:
        tally.refused += 1
        text = str(error)
        if "No space left" not in text and "Read-only file system" not in text:
            tally.problems.append(f"{template.operation.name}: the error hides its cause: {text}")


def main(folder: str) -> None:
    """Try every operation with less and less space, and without the right to write."""
    import json
    from dataclasses import asdict

    FORKS.set_forkserver_preload(["tests.faults.disturbances"])  # no command runs here
    place = Path(folder) / "disk"
    place.mkdir()
    tally = Tally()
    with reader({}) as watcher:
        for operation in OPERATIONS:
            with tempfile.TemporaryDirectory() as scratch:
                template = make_template(operation, Path(scratch))
            tally += _read_only(template, place, watcher)
            for pages in range(0, 24, 2):
                found = _full_disk(template, place, pages * _STEP_BYTES, watcher)
                tally += found
                if found.survived:
                    break
    print(json.dumps(asdict(tally)))


if __name__ == "__main__":
    main(sys.argv[1])
