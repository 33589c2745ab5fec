"""`coupled build` from a prompt set to a dataset, with the shipped miniature."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.open_store import open_store
from tests.coupled_command import Coupled, build_arguments, read_rows, write_prompts
from tests.stored_images import iter_images

pytestmark = pytest.mark.timeout(300)
NOTHING_TO_SAY = {
    "extra",  # the prompt set has no unknown columns
    "extra_scores",  # no package has registered any
    "instruction_missing",
    "inverse_missing",  # both are there
    "split_model",  # rules split, no language model
    "error_message",
    "weights",  # they are loaded as they lie: not quantised, no LoRA
    "review_status",  # nobody has looked yet
    "duplicate_of",
    "content_filter_version",  # the miniature's world holds nothing to filter
    "content_concepts",
}


def test_a_build_makes_one_row_of_every_pair_of_every_group(undisturbed: Path) -> None:
    rows = read_rows(undisturbed / "pairs")
    prompts = pq.read_table(undisturbed / "prompts.parquet").to_pylist()
    expected = sum(len(group["prompts"]) * (len(group["prompts"]) - 1) // 2 for group in prompts)
    assert len({row["pair_id"] for row in rows}) == len(rows) == expected
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["kept"] or row["reject_reasons"] for row in rows)


def test_only_kept_pairs_have_images_and_all_of_them_do(undisturbed: Path) -> None:
    store = open_store(undisturbed / "pairs")
    snapshot = current_snapshot(store)
    assert snapshot is not None
    stored = {row["pair_id"] for b in iter_images(store, snapshot.parts) for row in b.to_pylist()}
    assert stored == {row["pair_id"] for row in read_rows(undisturbed / "pairs") if row["kept"]}


def test_a_kept_row_is_null_only_where_a_stage_had_nothing_to_say(undisturbed: Path) -> None:
    kept = [row for row in read_rows(undisturbed / "pairs") if row["kept"]]
    assert kept
    for row in kept:
        empty = {name for name, value in row.items() if value is None}
        assert empty == NOTHING_TO_SAY, row["pair_id"]


def test_a_build_prints_its_funnel_and_where_everything_lies(undisturbed: Path) -> None:
    output = (undisturbed / "output.txt").read_text()
    for name in ("groups in", "pairs generated", "pairs kept", "dropped", "manifest", "wall time"):
        assert name in output
    sheet = undisturbed / "pairs" / "contact-sheet.png"
    assert str(sheet) in output
    assert Image.open(sheet).width > 1000


def test_a_build_ends_with_a_page_about_its_snapshot(undisturbed: Path) -> None:
    page = undisturbed / "pairs" / "report.html"
    assert str(page) in (undisturbed / "output.txt").read_text()
    snapshot = current_snapshot(open_store(undisturbed / "pairs"))
    assert snapshot is not None
    stored = undisturbed / "pairs" / "reports" / snapshot.snapshot_id
    assert (stored / "report.html").read_bytes() == page.read_bytes()
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert snapshot.snapshot_id in text
    assert all(row["pair_id"] in text for row in read_rows(undisturbed / "pairs") if row["kept"])
    assert json.loads((stored / "summary.json").read_text())["snapshot_id"] == snapshot.snapshot_id


def test_pictures_that_cannot_be_made_are_named_and_cost_no_pair(coupled: Coupled) -> None:
    write_prompts(coupled.folder / "prompts.parquet", 1)
    (coupled.folder / "pairs").mkdir()
    (coupled.folder / "pairs" / "reports").write_text("in the way")
    code, output, errors = coupled.run(*build_arguments("--json"))
    assert code == 0, errors
    summary = json.loads(output)
    assert (summary["is_new"], summary["funnel"]["pairs_planned"]) == (True, 3)
    assert (summary["report"], summary["contact_sheet"]) == (None, None)
    assert summary["not_made"].keys() == {"contact sheet", "report"}
    assert "warning: the data are committed, but their report could not be made" in errors


def test_a_second_build_with_a_server_of_its_own_adds_nothing_and_says_so(
    undisturbed: Path,
) -> None:
    before = (undisturbed / "pairs" / "current.json").read_bytes()
    code, output, errors = Coupled(undisturbed, {"PREFECT_API_URL": ""}).run(*build_arguments())
    assert code == 0, errors
    assert "nothing to do: all 6 pairs" in output
    assert (undisturbed / "pairs" / "current.json").read_bytes() == before


def test_bad_rows_are_named_and_stop_the_build_before_anything_is_written(coupled: Coupled) -> None:
    _add_bad_rows(write_prompts(coupled.folder / "prompts.parquet", 2))
    code, _, errors = coupled.run(*build_arguments())
    assert code == 2
    assert "prompts.parquet, row 2" in errors
    assert "Traceback" not in errors
    assert not (coupled.folder / "pairs" / "current.json").exists()


def test_quarantined_failed_and_dropped_pairs_all_become_rows_with_reasons(
    coupled: Coupled,
) -> None:
    _add_bad_rows(write_prompts(coupled.folder / "prompts.parquet", 2))
    arguments = build_arguments("--on-bad-row", "quarantine", "--min-combined", "99", "--json")
    code, output, errors = coupled.run(*arguments)
    assert code == 0, errors
    funnel = json.loads(output)["funnel"]  # one document and nothing else on standard output
    assert (funnel["groups_in"], funnel["groups_quarantined"], funnel["groups_failed"]) == (4, 1, 1)
    assert funnel["pairs_kept"] == 0
    assert funnel["dropped_by_reason"]["below_min_combined"] == funnel["pairs_dropped"] == 4
    reasons = {row["status"]: row["reject_reasons"] for row in read_rows(coupled.folder / "pairs")}
    assert reasons["quarantined"] == ["invalid_input"]
    assert reasons["failed"] == ["split_failed"]


def _add_bad_rows(path: Path) -> None:
    """Add a row that cannot be used, and a group whose prompts share no background."""
    table = pq.read_table(path)
    bad = [
        {"group_id": "lonely", "prompts": ["a red fox in the snow"]},
        {"group_id": "strangers", "prompts": ["a red fox asleep", "two boats under the moon"]},
    ]
    more = pa.Table.from_pylist(bad, schema=table.schema)
    pq.write_table(pa.concat_tables([table, more]), path)
