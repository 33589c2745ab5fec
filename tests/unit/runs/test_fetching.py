"""What is told while the hub's files of a model are fetched."""

import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from coupled_core.runs.fetching import told_fetching

SCHNELL = "black-forest-labs/FLUX.1-schnell"


def test_bytes_are_told_while_a_file_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    blobs = tmp_path / "models--black-forest-labs--FLUX.1-schnell" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "old").write_bytes(bytes(1000))
    told: list[str] = []
    with told_fetching(SCHNELL, told.append, every_seconds=0.01):
        (blobs / "new.incomplete").write_bytes(bytes(2000))
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told == [f"fetched 3 kB of 33.7 GB of {SCHNELL}"]


def test_a_folder_is_not_fetched(tmp_path: Path) -> None:
    told: list[str] = []
    with told_fetching(str(tmp_path), told.append, every_seconds=0.001):
        time.sleep(0.01)
    assert told == []
