"""Temporary folders go with their process, or with the next one."""

import errno
import fcntl
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coupled_core.dataset.parts import temporary_folder
from coupled_core.errors import StorageError
from coupled_core.storage.scratch import scratch_folder

HOLD = """
import sys
from coupled_core.dataset.parts import temporary_folder
with temporary_folder() as folder:
    (folder / "images.parquet").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def _start_holder() -> tuple["subprocess.Popen[str]", Path]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    return holder, Path(holder.stdout.readline().strip())


def test_a_folder_is_empty_and_gone_afterwards_however_its_use_ended(temporary: Path) -> None:
    with scratch_folder("parts") as folder:
        assert folder.parent == temporary and folder.name.startswith("coupled-parts-")
        assert list(folder.iterdir()) == []
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"1")
    with pytest.raises(KeyboardInterrupt), scratch_folder("parts"):
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_with_the_next_one(temporary: Path) -> None:
    holder, litter = _start_holder()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (litter / "images.parquet").exists()
    with temporary_folder() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_the_folder_of_a_living_process_stays(temporary: Path) -> None:
    holder, held = _start_holder()
    for _ in range(3):
        with scratch_folder("copy"), scratch_folder("parts"):
            assert (held / "images.parquet").exists()
    holder.communicate("")
    assert list(temporary.iterdir()) == []


def test_folders_of_many_threads_at_once_are_all_different_and_all_there(temporary: Path) -> None:
    def use(number: int) -> Path:
        with scratch_folder("parts") as folder:
            (folder / "number").write_text(str(number))
            assert (folder / "number").read_text() == str(number)
            return folder

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(use, range(400)))) == 400
    assert list(temporary.iterdir()) == []


def test_what_is_not_ours_stays(temporary: Path) -> None:
    for name in ("coupled-parts-old", "someone.locked"):
        (temporary / name).mkdir()
    (temporary / "precious").mkdir()
    (temporary / "coupled-parts-x.locked").symlink_to(temporary / "precious")
    (temporary / "coupled-parts-file.locked").write_bytes(b"1")
    before = sorted(temporary.iterdir())
    with scratch_folder("parts"):
        pass
    assert sorted(temporary.iterdir()) == before


def test_a_file_system_without_locks_is_good_enough(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with scratch_folder("parts") as first, scratch_folder("parts"):
        assert first.is_dir()
    assert list(temporary.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "none"))
    with pytest.raises(StorageError, match=r"temporary folder.*TMPDIR"), scratch_folder("parts"):
        pass
