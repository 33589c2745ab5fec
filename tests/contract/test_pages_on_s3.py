"""Report and review of a dataset on a real S3 server process, by the commands that people run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from flows.cli.main import app
from tests.sample_pairs import commit_pairs, spread_pairs

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def store(moto_server: Any, new_bucket: Callable[[Any], str]) -> ObjectStore:
    """Twelve pairs, half of them kept."""
    dataset = open_store(new_bucket(moto_server))
    commit_pairs(dataset, spread_pairs(12), store_dropped=True)
    return dataset


def _run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def _verdicts(store: ObjectStore) -> dict[str, tuple[bool, str | None]]:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    batches = iter_manifest(store, snapshot.parts, ["pair_id", "kept", "review_status"])
    rows = (row for batch in batches for row in batch.to_pylist())
    return {row["pair_id"]: (row["kept"], row["review_status"]) for row in rows}


def test_a_report_shows_the_pairs_of_a_dataset_on_s3(store: ObjectStore, tmp_path: Path) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "survival.png"
    answer = _run("report", "--dataset", store.uri, "-o", str(page), "--survival", str(picture))
    assert answer["num_shown"] == 12
    assert page.stat().st_size == answer["size_bytes"]
    assert page.read_text(encoding="utf-8").count("data:image/") >= 24
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_decisions_are_applied_to_a_dataset_on_s3(store: ObjectStore, tmp_path: Path) -> None:
    waiting = _run("review", "--dataset", store.uri, "-o", str(tmp_path / "review.html"))
    kept = [name for name, (is_kept, _) in _verdicts(store).items() if is_kept]
    assert (waiting["num_shown"], len(kept)) == (12, 6)
    decisions = {
        "format": "coupled-review-1",
        "dataset": store.uri,
        "snapshot_id": waiting["snapshot_id"],
        "decisions": {kept[0]: "drop", kept[1]: "keep"},
    }
    (tmp_path / "decisions.json").write_text(json.dumps(decisions))
    apply = ("review", "--dataset", store.uri, "--apply", str(tmp_path / "decisions.json"))
    done = _run(*apply)
    assert (done["num_dropped"], done["num_confirmed"]) == (1, 1)
    found = _verdicts(store)
    assert (found[kept[0]], found[kept[1]]) == ((False, "drop"), (True, "keep"))
    assert _run(*apply)["snapshot_id"] is None
