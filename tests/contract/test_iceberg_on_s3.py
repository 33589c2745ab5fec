"""`coupled publish iceberg` of a dataset on S3, into a warehouse on S3."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.s3_servers import KEY_ID, SECRET, S3Server
from tests.sample_pairs import commit_pairs, spread_pairs

load_catalog = pytest.importorskip("pyiceberg.catalog").load_catalog
pytest.importorskip("sqlalchemy")
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["moto_server", "seaweed_server"])
def store(request: pytest.FixtureRequest, new_bucket: Callable[[Any], str]) -> ObjectStore:
    return open_store(new_bucket(request.getfixturevalue(request.param)))


@pytest.fixture
def catalog(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> Iterator[Any]:
    """A catalog named lake, configured as people do it: by variables of the environment."""
    server: S3Server = request.getfixturevalue(request.node.callspec.params["store"])
    settings = {
        "TYPE": "sql",
        "URI": f"sqlite:///{tmp_path}/catalog.db",
        "WAREHOUSE": f"{store.uri}-lake",
        "S3__ENDPOINT": server.endpoint,
        "S3__ACCESS_KEY_ID": KEY_ID,
        "S3__SECRET_ACCESS_KEY": SECRET,
        "S3__REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{name}", value)
    properties = {
        name.lower().replace("__", ".").replace("_", "-"): v for name, v in settings.items()
    }
    found = load_catalog("lake", **properties)
    yield found
    found.close()


def _publish(dataset: str) -> int:
    """Run the command in a process of its own: PyIceberg reads the environment at import."""
    words = ("publish", dataset, "iceberg", "--catalog", "lake", "--table", "images.pairs")
    command = [sys.executable, "-m", "flows.cli.main", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    num_rows: int = json.loads(done.stdout)["num_rows"]
    return num_rows


def test_rows_on_s3_are_read_through_the_table_now_and_as_they_were(
    store: ObjectStore, catalog: Any
) -> None:
    first = commit_pairs(store, spread_pairs(12))
    assert _publish(store.uri) == 12
    commit_pairs(store, spread_pairs(6), run_id="second")
    assert _publish(store.uri) == 18
    table = catalog.load_table("images.pairs")
    assert table.scan(row_filter="kept = true").to_arrow().num_rows == 9
    then = table.refs()[first.snapshot_id].snapshot_id
    assert table.scan(snapshot_id=then).to_arrow().num_rows == 12
    snapshot = current_snapshot(store)
    assert snapshot is not None
    paths = {task.file.file_path for task in table.scan().plan_files()}
    assert paths == {f"{store.uri}/{part.key}" for part in snapshot.parts_of("manifest")}
    assert table.metadata_location.startswith(f"{store.uri}-lake/")
