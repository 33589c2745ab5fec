"""Near backgrounds in two partitions are named; a new rule is put over a whole dataset."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from coupled_core.config import RunConfig
from coupled_core.dataset.backgrounds import (
    PARTITION_RULE,
    content_words,
    partition_of_background,
)
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import Flaw
from coupled_core.dataset.upkeep.partition import (
    MIN_OVERLAP,
    NearBackgrounds,
    compare_new_backgrounds,
    find_near_backgrounds,
    repartition,
)
from coupled_core.dataset.upkeep.verify import VerifyReport, verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.runs.facts import refuse_other_scores
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, make_rows, with_images


def test_near_backgrounds_are_those_that_comparing_all_with_all_finds() -> None:
    random = np.random.default_rng(3)
    words = np.array([f"word{index}" for index in range(12)])
    texts = sorted(
        {" ".join(random.choice(words, random.integers(1, 7), replace=False)) for _ in range(300)}
    )
    rows = [(text, str(random.choice(["train", "val", "test"])), 1) for text in texts]
    expected = set()
    for (one, partition, _), (other, other_partition, _) in combinations(rows, 2):
        a, b = content_words(one), content_words(other)
        if partition != other_partition and MIN_OVERLAP <= len(a & b) / len(a | b) < 1:
            expected.add(frozenset([(a, partition), (b, other_partition)]))
    found = {
        frozenset(
            (content_words(text), partition)
            for text, partition in ((n.background, n.partition), (n.other, n.other_partition))
        )
        for n in find_near_backgrounds(rows)
    }
    assert found == expected
    assert len(expected) > 100


def test_pairs_with_one_of_some_backgrounds_are_those_of_all_that_have_one() -> None:
    random = np.random.default_rng(4)
    words = np.array([f"word{index}" for index in range(14)])
    texts = sorted(
        {" ".join(random.choice(words, random.integers(1, 6), replace=False)) for _ in range(200)}
    )
    rows = [(text, str(random.choice(["train", "val"])), 1) for text in texts]
    new = {(text, partition) for text, partition, _ in rows[::9]}
    found = find_near_backgrounds(rows, new)
    every = find_near_backgrounds(rows)
    sides = {(content_words(text), partition) for text, partition in new}

    def has_new(near: NearBackgrounds) -> bool:
        one, other = (near.background, near.partition), (near.other, near.other_partition)
        return any((content_words(text), name) in sides for text, name in (one, other))

    def names(near: NearBackgrounds) -> tuple[str, str]:
        return near.background, near.other

    assert sorted(map(names, found)) == sorted(names(near) for near in every if has_new(near))
    assert 0 < len(found) < len(every)


def test_a_commit_compares_what_it_adds_with_what_is_there_and_not_that_with_itself(
    tmp_path: Path,
) -> None:
    store, place = LocalStore(tmp_path), "a vibrant meadow"
    longer = _in_another_partition(place)
    both = [partition_of_background(text) for text in (place, longer)]
    first = _commit(store, [place], both[:1])
    assert compare_new_backgrounds(store, first) == []
    second = _commit(store, [longer], both[1:], shard_index=1)
    (near,) = compare_new_backgrounds(store, second)
    assert {near.background, near.other} == {place, longer}
    third = _commit(store, ["a kitchen"], ["train"], shard_index=2)
    assert compare_new_backgrounds(store, third) == []
    assert len(_verify(store, third).near_backgrounds) == 1


def _in_another_partition(background: str) -> str:
    """Return a background with one more word that the rule puts elsewhere."""
    longer = (f"{background} with word{index}" for index in range(1000))
    here = partition_of_background(background)
    return next(text for text in longer if partition_of_background(text) != here)


def _commit(
    store: LocalStore, backgrounds: list[str], partitions: list[str], shard_index: int = 0
) -> Snapshot:
    made = make_rows("run", shard_index, num_kept=len(backgrounds), num_dropped=0)
    for row, background, partition in zip(made.rows, backgrounds, partitions, strict=False):
        row.update(background_prompt=background, partition=partition)
    shard = upload_shard(
        store, with_images(made.rows, made.image_rows), run_id="run", shard_index=shard_index
    )
    snapshot = commit_shards(store, [shard], describe_run("run"))
    assert snapshot is not None
    return snapshot


def _verify(store: LocalStore, snapshot: Snapshot) -> VerifyReport:
    return verify_snapshot(store, snapshot)


def test_verify_names_near_backgrounds_in_two_partitions_without_calling_them_damage(
    tmp_path: Path,
) -> None:
    store, place = LocalStore(tmp_path), "a vibrant meadow"
    longer = _in_another_partition(place)
    texts = [place, longer, place]
    report = _verify(store, _commit(store, texts, [partition_of_background(t) for t in texts]))
    assert report.is_whole
    (near,) = report.near_backgrounds
    assert (near.background, near.other, near.num_pairs) == (place, longer, 1)
    assert near.overlap == pytest.approx(2 / 3)


def test_verify_calls_one_background_in_two_partitions_damage(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    texts = ["a vibrant meadow at noon", "At noon, the vibrant meadows."]
    report = _verify(store, _commit(store, texts, ["train", "test"]))
    assert report.damage.counts == {Flaw.BACKGROUND_PARTITION: 1}
    assert "row 1" in str(report.damage.listed[0])


def test_a_dataset_of_another_rule_is_refused_until_it_is_partitioned_anew(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    texts = ["a vibrant meadow at noon", "At noon, the vibrant meadows."]
    old = _commit(store, texts, ["train", "test"])
    with pytest.raises(
        DatasetError, match=r"partition_rule is '2' here and '1' there.*`coupled repa"
    ):
        refuse_other_scores(RunConfig(), old, store)
    report = repartition(store)
    assert report.snapshot is not None
    refuse_other_scores(RunConfig(), report.snapshot, store)
    assert report.num_changed >= 1
    assert [run.partition_rule for run in report.snapshot.runs] == [PARTITION_RULE]
    assert _verify(store, report.snapshot).is_whole
    batches = iter_manifest(store, report.snapshot.parts, ["partition"])
    partitions = [name for batch in batches for name in batch["partition"].to_pylist()]
    assert partitions[:2] == [partition_of_background(texts[0])] * 2
    assert repartition(store).snapshot is None
