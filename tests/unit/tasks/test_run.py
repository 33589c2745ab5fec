"""What is said after a commit; the snapshot is there by then, whatever happens."""

import logging
import shutil
from pathlib import Path

import pytest

from coupled_core.dataset.backgrounds import partition_of_background
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.storage.local import LocalStore
from tasks import run
from tests.sample_pairs import SamplePair, commit_pairs


@pytest.fixture(autouse=True)
def _logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that needs no run around it."""
    monkeypatch.setattr(run, "get_run_logger", lambda: logging.getLogger("run"))


def _commit_near_backgrounds(store: LocalStore) -> Snapshot:
    """Commit a background and the same with one word more, in two partitions."""
    place = "a vibrant meadow"
    longer = (f"{place} with word{index}" for index in range(1000))
    here = partition_of_background(place)
    other = next(text for text in longer if partition_of_background(text) != here)
    commit_pairs(store, [SamplePair(background_prompt=place)])
    return commit_pairs(store, [SamplePair(background_prompt=other)], run_id="second")


def test_a_background_near_one_of_another_partition_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(tmp_path)
    run._warn_of_near_backgrounds(store, _commit_near_backgrounds(store))
    (text,) = caplog.messages
    assert text.startswith("1 new backgrounds are in another partition")
    assert "'a vibrant meadow'" in text and "with word" in text and "coupled verify" in text


def test_of_backgrounds_that_are_not_near_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(tmp_path)
    run._warn_of_near_backgrounds(store, commit_pairs(store, [SamplePair()]))
    assert caplog.messages == []


def test_a_comparison_that_fails_is_told_and_does_not_fail_the_commit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(tmp_path)
    snapshot = _commit_near_backgrounds(store)
    shutil.rmtree(tmp_path)
    run._warn_of_near_backgrounds(store, snapshot)
    assert caplog.messages[-1].startswith("new backgrounds were not compared: ")
