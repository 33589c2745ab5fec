"""The report as a file: size, safety, and what it says when there is little to say."""

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.report.report import MAX_PAGE_BYTES, make_report
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import SamplePair, commit_pairs, draw_pair, spread_pairs
from tests.sample_shards import describe_run, publish

LONG = "a grey owl on the shore of a mountain lake at dusk, <i>soft</i> light & a calm 'mood', " * 8


def _gallery(page: str) -> list[dict[str, object]]:
    data = re.search(r'id="gallery-data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    gallery = json.loads(data.group(1))
    return [dict(zip(gallery["columns"], row, strict=True)) for row in gallery["rows"]]


@pytest.mark.timeout(600)
def test_a_thousand_pairs_of_photographs_with_long_prompts_stay_under_five_megabytes(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path / "pairs")
    photographs = [draw_pair(seed, side_px=128) for seed in range(6)]
    pairs = spread_pairs(1000, prompts=(LONG, LONG))
    snapshot = commit_pairs(store, pairs, images=photographs, store_dropped=True)
    page = make_report(store, snapshot, 1000).page
    assert len(page.encode()) < MAX_PAGE_BYTES
    shown = _gallery(page)
    assert len(shown) == 1000
    assert all(pair["image_0"] and pair["image_1"] and pair["mask_0"] for pair in shown)
    assert min(int(str(pair["thumb_width"])) for pair in shown) >= 64


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[ObjectStore, Snapshot]:
    """A dataset of 24 pairs, half of them kept, with prompts that close every tag."""
    store = open_store(tmp_path_factory.mktemp("small") / "pairs")
    hostile = ("</script><script>alert(1)</script>", "{{ 7 * 7 }} http://example.com/x.png")
    return store, commit_pairs(store, spread_pairs(24, prompts=hostile, entities=hostile))


def test_no_text_of_a_prompt_ends_up_as_markup(small: tuple[ObjectStore, Snapshot]) -> None:
    page = make_report(*small, num_pairs=24).page
    assert page.count("<script") == page.count("</script>") == 3
    assert "<script>alert" not in page
    assert _gallery(page)[0]["prompt_0"] == "</script><script>alert(1)</script>"
    assert _gallery(page)[0]["prompt_1"] == "{{ 7 * 7 }} http://example.com/x.png"


def test_only_the_page_s_own_style_and_program_are_allowed(
    small: tuple[ObjectStore, Snapshot],
) -> None:
    page = make_report(*small, num_pairs=4).page
    assert "default-src &#39;none&#39;" in page
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content.group(1).encode()).digest()).decode()
        allowed = re.search(rf"{tag}-src &#39;sha256-([^&]*)&#39;", page)
        assert allowed is not None and allowed.group(1) == digest
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []


def test_the_same_snapshot_gives_the_same_page(small: tuple[ObjectStore, Snapshot]) -> None:
    assert make_report(*small, num_pairs=6).page == make_report(*small, num_pairs=6).page


def test_summary_and_picture_hold_the_survival_curves(small: tuple[ObjectStore, Snapshot]) -> None:
    report = make_report(*small, num_pairs=1)
    summary = json.loads(json.dumps(report.summary, allow_nan=False))
    curve = summary["survival"]["min_combined"]
    assert curve["in_force"] == [1.0]
    assert curve["pairs_kept"][curve["thresholds"].index(1.0)] == summary["funnel"]["pairs_kept"]
    assert summary["costs"]["gpu_seconds"] == 48.0
    assert summary["costs"]["llm_cost_usd"] == pytest.approx(0.024)
    assert Image.open(io.BytesIO(report.survival_picture)).width > 1000


def test_a_dataset_in_which_nothing_was_scored_has_a_report_all_the_same(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    shard = publish(store, "run", 0, num_kept=0, num_dropped=0)
    snapshot = commit_shards(store, [shard], describe_run("run"))
    assert snapshot is not None
    report = make_report(store, snapshot)
    assert report.num_shown == 0
    assert "No pair was scored" in report.page
    assert "split_failed" in report.page


def test_a_schedule_that_is_not_at_hand_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    snapshot = commit_pairs(store, [SamplePair()], schedule_id="f" * 64)
    page = make_report(store, snapshot).page
    assert re.search(r"schedule <code>f{12}</code> is not at hand", page)
