"""One background is in one split, however it is worded; what wording hides is named."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from coupled_core.config import RunConfig
from coupled_core.dataset.backgrounds import (
    MIN_OVERLAP,
    SPLIT_RULE,
    canonical_background,
    content_words,
    find_near_backgrounds,
    split_of_background,
)
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.parts import publish_shard
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import Check
from coupled_core.dataset.upkeep.repartition import resplit
from coupled_core.dataset.upkeep.verify import VerifyReport, verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.filtering.rows import judge_row
from coupled_core.runs.facts import refuse_other_scores
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, make_rows


@pytest.mark.parametrize(
    ("wording", "other"),
    [
        ("A  quiet Lake.\n", "a quiet lake"),
        ("a vibrant meadow", "The vibrant meadow"),
        ("in a vibrant meadow, at noon", "At noon in a vibrant meadow."),
        ("a view of the meadow's edge", "the edge of meadows"),
        ("beaches with boxes", "a beach with a box"),
        ("Café im Regen", "cafe\u0301 im regen"),
        ("ｆｕｌｌ width city", "full width city"),
    ],
)
def test_wordings_of_one_background_are_in_one_split(wording: str, other: str) -> None:
    assert canonical_background(wording) == canonical_background(other)
    assert split_of_background(wording) == split_of_background(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a vibrant meadow at noon", "a vibrant meadow at night"),
        ("a glass", "a glas house"),
        ("in", "on"),
        ("雪原の夕暮れ", "砂漠の夕暮れ"),
    ],
)
def test_other_places_stay_other_places(one: str, other: str) -> None:
    assert canonical_background(one) != canonical_background(other)
    assert canonical_background(one)


def test_backgrounds_are_split_90_5_5() -> None:
    splits = [split_of_background(f"valley number {index}") for index in range(4000)]
    shares = [splits.count(name) / 4000 for name in ("train", "val", "test")]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.015)


def test_near_backgrounds_are_those_that_comparing_all_with_all_finds() -> None:
    random = np.random.default_rng(3)
    words = np.array([f"word{index}" for index in range(12)])
    texts = sorted(
        {" ".join(random.choice(words, random.integers(1, 7), replace=False)) for _ in range(300)}
    )
    rows = [(text, str(random.choice(["train", "val", "test"])), 1) for text in texts]
    expected = set()
    for (one, split, _), (other, other_split, _) in combinations(rows, 2):
        a, b = content_words(one), content_words(other)
        if split != other_split and MIN_OVERLAP <= len(a & b) / len(a | b) < 1:
            expected.add(frozenset([(a, split), (b, other_split)]))
    found = {
        frozenset([(content_words(n.background), n.split), (content_words(n.other), n.other_split)])
        for n in find_near_backgrounds(rows)
    }
    assert found == expected
    assert len(expected) > 100


def _in_another_split(background: str) -> str:
    """Return a background with one more word that the rule puts elsewhere."""
    longer = (f"{background} with word{index}" for index in range(1000))
    return next(t for t in longer if split_of_background(t) != split_of_background(background))


def _commit(store: LocalStore, backgrounds: list[str], splits: list[str]) -> Snapshot:
    made = make_rows("run", 0, num_kept=len(backgrounds), num_dropped=0)
    for row, background, split in zip(made.rows, backgrounds, splits, strict=False):
        row.update(background_prompt=background, split=split)
    shard = publish_shard(store, made.rows, made.image_rows, run_id="run", shard_index=0)
    snapshot = commit_shards(store, [shard], describe_run("run"))
    assert snapshot is not None
    return snapshot


def _verify(store: LocalStore, snapshot: Snapshot) -> VerifyReport:
    return verify_snapshot(store, snapshot, judge_row)


def test_verify_names_near_backgrounds_in_two_splits_without_calling_them_damage(
    tmp_path: Path,
) -> None:
    store, place = LocalStore(tmp_path), "a vibrant meadow"
    longer = _in_another_split(place)
    texts = [place, longer, place]
    report = _verify(store, _commit(store, texts, [split_of_background(t) for t in texts]))
    assert report.is_whole
    (near,) = report.near_backgrounds
    assert (near.background, near.other, near.num_pairs) == (place, longer, 1)
    assert near.overlap == pytest.approx(2 / 3)


def test_verify_calls_one_background_in_two_splits_damage(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    texts = ["a vibrant meadow at noon", "At noon, the vibrant meadows."]
    report = _verify(store, _commit(store, texts, ["train", "test"]))
    assert report.damage.counts == {Check.BACKGROUND_SPLIT: 1}
    assert "row 1" in str(report.damage.listed[0])


def test_a_dataset_of_another_rule_is_refused_until_it_is_split_anew(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    texts = ["a vibrant meadow at noon", "At noon, the vibrant meadows."]
    old = _commit(store, texts, ["train", "test"])
    with pytest.raises(DatasetError, match=r"split_rule is '2' here and '1' there.*repartition"):
        refuse_other_scores(RunConfig(), old, store.uri)
    report = resplit(store)
    assert report.snapshot is not None
    refuse_other_scores(RunConfig(), report.snapshot, store.uri)
    assert report.num_moved >= 1
    assert [run.split_rule for run in report.snapshot.runs] == [SPLIT_RULE]
    assert _verify(store, report.snapshot).is_whole
    batches = iter_manifest(store, report.snapshot.parts, ["split"])
    splits = [split for batch in batches for split in batch["split"].to_pylist()]
    assert splits[:2] == [split_of_background(texts[0])] * 2
    assert resplit(store).snapshot is None
