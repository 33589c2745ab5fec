"""The card states the terms, in YAML that parses and Markdown that nobody's text breaks out of."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.export.card import render_card
from coupled_core.export.plan import DatasetFacts, ExportPlan, Selection

DEV = ("black-forest-labs/FLUX.1-dev", "FLUX.1 [dev] Non-Commercial License", "Do not compete.")
OURS = ("miniature", "Apache-2.0", "none")


def _plan(*sources: tuple[str, str, str], num_pairs: int = 3) -> ExportPlan:
    facts = DatasetFacts(
        num_pairs=num_pairs,
        num_edits=2 * num_pairs,
        pairs_by_partition=Counter(train=num_pairs),
        pairs_by_variation=Counter(pose=num_pairs),
        pairs_by_size=Counter({(16, 16): num_pairs}),
        sources=Counter(sources),
        content_filters=Counter(none=num_pairs),
        reviews=Counter({"not reviewed": num_pairs}),
    )
    snapshot = Snapshot(
        snapshot_id="20261123T000000Z-0123456789ab",
        schema_version="1.0",
        parent=None,
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
        action="build",
        runs=(),
        parts=(),
    )
    return ExportPlan(snapshot, Selection(("train", "val")), {}, facts)


def _header(card: bytes) -> dict[str, Any]:
    _, header, _ = card.decode().split("---\n", 2)
    parsed: dict[str, Any] = yaml.safe_load(header)
    return parsed


def test_the_header_holds_what_the_hub_reads() -> None:
    header = _header(render_card("huggingface", _plan(OURS), {"train": "data/train-*.parquet"}))
    assert header["license"] == "apache-2.0"
    assert "license_name" not in header
    assert "image-to-image" in header["task_categories"]
    assert header["size_categories"] == ["n<1K"]
    assert header["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": "data/train-*.parquet"}],
        }
    ]


def test_a_licence_that_the_hub_does_not_know_is_named_and_linked() -> None:
    header = _header(render_card("card", _plan(DEV)))
    assert (header["license"], header["license_name"]) == (
        "other",
        "flux-1-dev-non-commercial-license",  # as on the Hub's card of the model
    )
    assert header["license_link"].endswith("LICENSE.md")


def test_pairs_under_two_licences_are_under_neither_alone() -> None:
    card = render_card("card", _plan(DEV, OURS))
    assert _header(card)["license"] == "other"
    assert _header(card)["license_name"] == "apache-2.0-and-flux-1-dev-non-commercial-license"
    assert DEV[2] in card.decode() and DEV[0] in card.decode()


@pytest.mark.parametrize(
    ("num_pairs", "category"),
    [(1, "n<1K"), (500, "1K<n<10K"), (600_000, "1M<n<10M"), (10**9, "1B<n<10B")],
)
def test_the_size_category_counts_edits(num_pairs: int, category: str) -> None:
    header = _header(render_card("card", _plan(OURS, num_pairs=num_pairs)))
    assert header["size_categories"] == [category]


def test_a_text_of_somebody_else_breaks_neither_header_nor_table() -> None:
    evil = 'x"\n---\nlicense: mit\n| <script>alert(1)</script> |'
    card = render_card("card", _plan(("model", evil, evil)))
    assert _header(card)["license_name"] == "x-license-mit-script-alert-1-script"
    body = card.decode().split("\n---\n", 1)[1]
    assert "<script>" not in body
    (row,) = [line for line in body.splitlines() if line.startswith("| model ")]
    assert row.replace("\\|", "").count("|") == 5
