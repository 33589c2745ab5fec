"""Every stage fills exactly its columns, and rows of lost pairs say why."""

import json

import pytest

from coupled_core.dataset import rows
from coupled_core.dataset.columns import COLUMNS, MANIFEST_SCHEMA
from coupled_core.records import PromptGroup, Rejection, RejectReason
from tests.sample_shards import make_rows, sample_run_facts

_NULL_WHERE_UNKNOWN = {"code_revision", "content_filter_version", "split_model", "error_message"}
_NULL_WHERE_UNKNOWN |= {
    "instruction_missing",
    "inverse_missing",
    "duplicate_of",
    "extra_scores",
    "content_concepts",
    "review_status",
    "image_part",
    "image_row",
    "weights",
}


_NULL_WITHOUT_REGION = {"region_fraction", "crop_evidence_0", "crop_evidence_1"}


def test_a_scored_row_fills_every_column_that_is_known() -> None:
    row = make_rows("run", 0).rows[0]
    assert list(row) == MANIFEST_SCHEMA.names
    assert {
        name for name, value in row.items() if value is None
    } == _NULL_WHERE_UNKNOWN | _NULL_WITHOUT_REGION
    assert json.loads(row["extra"]) == {"theme": "animals"}
    assert (row["entity_0"], row["prompt_1"]) == ("an owl", "a fox at a lake")
    assert row["inverse_instruction"] == "Replace the fox with an owl."
    assert (row["instruction_source"], row["inverse_source"]) == ("rule", "rule")


def test_a_failed_row_fills_the_planned_columns_and_the_reason() -> None:
    failed = make_rows("run", 0).rows[-2]
    filled = {name for name, value in failed.items() if value is not None}
    decision = {"kept", "reject_reasons", "status", "error_message"}
    assert (
        filled
        == {column.name for column in COLUMNS if column.stage == "plan"} - {"code_revision"}
        | decision
    )
    assert (failed["status"], failed["reject_reasons"]) == ("failed", ["split_failed"])


def test_a_quarantined_row_names_file_row_and_reason() -> None:
    bad = make_rows("run", 3).rows[-1]
    assert (bad["source_file"], bad["source_row"]) == ("prompts.parquet", 903)
    assert (bad["status"], bad["error_message"]) == ("quarantined", "prompts: empty")


def test_required_columns_stand_in_every_row() -> None:
    required = [column.name for column in COLUMNS if column.required]
    for row in make_rows("run", 0).rows:
        assert all(row[name] is not None for name in required), row["status"]


def test_a_name_that_is_no_column_is_our_mistake() -> None:
    with pytest.raises(KeyError, match="entity_zero"):
        rows.complete_row({"entity_zero": "an owl"})


@pytest.mark.parametrize(("attempt", "share_usd"), [(1, 0.5), (2, 0.0)])
def test_first_attempts_alone_share_the_cost_of_a_split(attempt: int, share_usd: float) -> None:
    group = PromptGroup("two-seeds", ("an owl", "a fox"), "prompts.parquet", 0, num_seeds=2)
    pair = rows.PlannedPair("0" * 32, group, (0, 1), 7, 0, attempt)
    lost = Rejection(RejectReason.SPLIT_FAILED, "no common background", llm_cost_usd=1.0)
    assert rows.failed_row(pair, sample_run_facts("run"), lost)["llm_cost_usd"] == share_usd
