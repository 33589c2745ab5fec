"""The page at the root of a dataset leads simple readers to the parts of the current snapshot."""

import logging
import shutil
from pathlib import Path

import pytest
from datasets import load_dataset

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.landing_page import PAGE
from coupled_core.dataset.opened import open_dataset
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.history import roll_back
from coupled_core.errors import StorageError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish


def _commit(store: LocalStore, shard_index: int) -> Snapshot:
    shard = publish(store, "run", shard_index, num_kept=3, num_dropped=1)
    snapshot = commit_shards(store, [shard], describe_run("run"))
    assert snapshot is not None
    return snapshot


def _load(root: Path, cache: Path, *config: str) -> list[str]:
    """Return the pair ids that `datasets` finds by the name of the folder alone."""
    shutil.rmtree(cache, ignore_errors=True)
    found = load_dataset(str(root), *config, split="train", cache_dir=str(cache))
    return sorted(found["pair_id"])


def _expected(root: Path, *, kept_only: bool) -> list[str]:
    return sorted(open_dataset(root).manifest(["pair_id"], kept_only=kept_only)[0].to_pylist())


def test_datasets_loads_the_rows_and_the_images_of_the_current_snapshot(tmp_path: Path) -> None:
    root, cache = tmp_path / "pairs", tmp_path / "cache"
    for shard_index in range(2):
        _commit(LocalStore(root), shard_index)
    assert _load(root, cache) == _expected(root, kept_only=False)
    assert _load(root, cache, "images") == _expected(root, kept_only=True)


def test_after_a_rollback_it_leads_to_the_earlier_parts(tmp_path: Path) -> None:
    root, cache = tmp_path / "pairs", tmp_path / "cache"
    store = LocalStore(root)
    first, _ = _commit(store, 0), _commit(store, 1)
    roll_back(store, first.snapshot_id)
    assert _load(root, cache) == _expected(root, kept_only=False)
    assert first.snapshot_id in (root / PAGE).read_text()


def test_a_page_that_somebody_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("# My pairs\n")
    _commit(LocalStore(tmp_path), 0)
    assert (tmp_path / PAGE).read_text() == "# My pairs\n"


class _PageRefused(LocalStore):
    """Stands for an account that may write parts and snapshots alone."""

    def write(self, key: str, data: bytes) -> str:
        if key == PAGE:
            raise StorageError(f"cannot write {key}: access denied")
        return super().write(key, data)


def test_a_commit_whose_page_cannot_be_written_has_succeeded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        snapshot = _commit(_PageRefused(tmp_path), 0)
    assert open_dataset(tmp_path).snapshot == snapshot
    assert "access denied" in caplog.text
