"""Datasets that the commands look after."""

from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    """A dataset of two snapshots."""
    store = LocalStore(tmp_path / "pairs")
    for index in range(2):
        commit_shards(store, [publish(store, "run", index)], describe_run("run"))
    return str(tmp_path / "pairs")
