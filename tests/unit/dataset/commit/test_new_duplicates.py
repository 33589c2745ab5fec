"""Near-duplicates at the commit: pictures, hashes, shards and snapshots are real."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from coupled_core.config import DuplicatesConfig, RunConfig
from coupled_core.dataset import rows
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import UploadedShard, upload_shard
from coupled_core.dataset.images import encode_image, encode_mask
from coupled_core.dataset.reader import current_snapshot, iter_images, iter_manifest
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.damage import Check
from coupled_core.dataset.upkeep.dedup import drop_duplicates
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.rewrite import Rewrite, rewrite_rows
from coupled_core.dataset.upkeep.verify import VerifyReport, verify_snapshot
from coupled_core.records import (
    Decision,
    EditInstruction,
    EntityMask,
    GroupSplit,
    ImageDescriptor,
    PromptGroup,
)
from coupled_core.scoring.clip import encode_embeddings
from coupled_core.storage.local import LocalStore
from tests.sample_pairs import SCORES
from tests.sample_shards import SampleProvenance, sample_run_facts

Pictures = tuple[np.ndarray, np.ndarray]


def _draw(seed: int) -> Pictures:
    """Return two smooth pictures that no other seed's are near to."""
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=(2, 48, 48, 3)), (0, 5, 5, 0))
    scenes = 128 + 50 * smooth / smooth.std()
    return tuple(scene.clip(0, 255).astype(np.uint8) for scene in scenes)  # type: ignore[return-value]


def _copy(pictures: Pictures) -> Pictures:
    """Return the pictures with grain, as a run on another machine might make them."""
    grain = np.random.default_rng(1).normal(0, 3, pictures[0].shape)
    return tuple((p + grain).clip(0, 255).astype(np.uint8) for p in pictures)  # type: ignore[return-value]


def _row(
    run_id: str, number: int, pictures: Pictures, combined: float
) -> tuple[rows.Row, rows.Row]:
    facts = sample_run_facts(run_id)
    group = PromptGroup(f"{run_id}-{number}", ("an owl", "a fox"), "prompts.parquet", number)
    pair = rows.PlannedPair(f"{sum(run_id.encode()):016x}{number:016x}", group, (0, 1), 7, 0)
    split = GroupSplit(
        "a lake",
        ("an owl", "a fox"),
        {(0, 1): EditInstruction("a"), (1, 0): EditInstruction("b")},
        "pose",
        "given",
        "e",
    )
    area = np.zeros((48, 48), bool)
    area[:9, :9] = True
    mask = EntityMask(area, predicted_iou=0.9, touches_border=True)
    images = rows.EncodedPair(
        encode_image(pictures[0]), encode_image(pictures[1]), encode_mask(area), encode_mask(area)
    )
    thumbnails = np.stack([p[::6, ::6].mean(axis=2).ravel() - 128 for p in pictures])
    codes = encode_embeddings(thumbnails.astype(np.float32))
    made = rows.complete_row(
        rows.plan_columns(pair, facts),
        rows.split_columns(split, pair),
        rows.generation_columns(
            SampleProvenance(),
            size_px=(48, 48),
            generate_seconds=1.0,
            device_name="cpu",
            num_pairs=1,
        ),
        rows.image_columns(images),
        rows.score_columns(
            replace(SCORES, combined=combined),
            (mask, mask),
            facts,
            tuple(map(ImageDescriptor, codes)),
        ),
        rows.decision_columns(Decision(True, ())),
    )
    return made, rows.image_row(pair.pair_id, images)


def _publish(
    store: LocalStore,
    run_id: str,
    pairs: Mapping[int, tuple[Pictures, float]],
    shard_index: int = 0,
) -> UploadedShard:
    """Upload kept pairs: number -> pictures and combined metric."""
    made = [_row(run_id, number, *pair) for number, pair in pairs.items()]
    return upload_shard(store, made, run_id=run_id, shard_index=shard_index)


def _describe(run_id: str, **stages: Mapping[str, Any]) -> RunInfo:
    settings = {"filter": {"min_combined": 1.0}, **stages}
    config = RunConfig.model_validate(settings).model_dump(mode="json")
    return RunInfo(
        run_id=run_id, config=config, config_sha256="c", inputs=(), package_version="0.1.0"
    )


def _commit(store: LocalStore, shards: list[UploadedShard], **stages: Any) -> Snapshot:
    snapshot = commit_shards(store, shards, _describe(shards[0].run_id, **stages))
    assert snapshot is not None
    return snapshot


def _verify(store: LocalStore, snapshot: Snapshot) -> VerifyReport:
    return verify_snapshot(store, snapshot)


def _decisions(store: LocalStore, snapshot: Snapshot) -> dict[tuple[str, int], str | None]:
    """Return what each pair duplicates, by run and number; check that all else fits to it."""
    assert [str(each) for each in _verify(store, snapshot).damage.listed] == []
    found = [row for batch in iter_manifest(store, snapshot.parts) for row in batch.to_pylist()]
    for row in found:
        reasons = [] if row["duplicate_of"] is None else ["duplicate"]
        assert (row["kept"], row["reject_reasons"]) == (not reasons, reasons)
    return {(row["run_id"], row["source_row"]): row["duplicate_of"] for row in found}


def _id(run_id: str, number: int) -> str:
    return f"{sum(run_id.encode()):016x}{number:016x}"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_a_later_runs_copy_is_dropped_and_names_the_pair_that_stays(store: LocalStore) -> None:
    _commit(store, [_publish(store, "a", {1: (_draw(1), 2.0), 2: (_draw(2), 2.0)})])
    later = {1: (_copy(_draw(1)), 3.0), 3: (_draw(3), 2.0), 4: (_copy(_draw(2))[::-1], 3.0)}
    snapshot = _commit(store, [_publish(store, "b", later)])
    assert _decisions(store, snapshot) == {
        ("a", 1): None,
        ("a", 2): None,
        ("b", 1): _id("a", 1),
        ("b", 3): None,
        ("b", 4): _id("a", 2),
    }
    assert snapshot.runs[-1].funnel.dropped_by_reason == {"duplicate": 2}
    assert sum(part.num_rows for part in snapshot.parts_of("images")) == 3


def test_of_one_runs_copies_the_better_stays_whatever_the_order_of_shards(tmp_path: Path) -> None:
    found = []
    for order in (1, -1):
        store = LocalStore(tmp_path / str(order))
        shards = [
            _publish(store, "a", {1: (_draw(1), 2.0), 2: (_draw(2), 2.0)}, 0),
            _publish(store, "a", {3: (_copy(_draw(1)), 3.0), 4: (_copy(_draw(2)), 1.5)}, 1),
        ][::order]
        found.append(_decisions(store, _commit(store, shards)))
    assert found[0] == found[1]
    assert {k: v for k, v in found[0].items() if v} == {
        ("a", 1): _id("a", 3),
        ("a", 4): _id("a", 2),
    }


def test_the_same_commit_again_and_a_twins_add_nothing(store: LocalStore) -> None:
    shards = [
        _publish(store, "a", {1: (_draw(1), 2.0)}, 0),
        _publish(store, "a", {2: (_copy(_draw(1)), 1.5)}, 1),
    ]
    first = _commit(store, shards)
    assert commit_shards(store, shards, _describe("a")) is None
    assert commit_shards(store, shards[::-1], _describe("a")) is None
    assert current_snapshot(store) == first


class _Overtaken(LocalStore):
    """A store on which a rival commits just before our first snapshot is written."""

    rival: UploadedShard | None = None

    def write_if_absent(self, key: str, data: bytes) -> str:
        if key == "current.json" and self.rival:
            rival, self.rival = self.rival, None
            assert commit_shards(LocalStore(self.root), [rival], _describe(rival.run_id))
        return super().write_if_absent(key, data)


def test_a_rebased_commit_drops_what_duplicates_the_winners_pairs(tmp_path: Path) -> None:
    store = _Overtaken(tmp_path)
    store.rival = _publish(store, "rival", {1: (_copy(_draw(1)), 1.5)})
    ours = _publish(
        store, "run", {1: (_draw(1), 9.0), 2: (_copy(_draw(1)), 8.0), 3: (_draw(3), 2.0)}
    )
    assert _decisions(store, _commit(store, [ours])) == {
        ("rival", 1): None,
        ("run", 1): _id("rival", 1),
        ("run", 2): _id("rival", 1),
        ("run", 3): None,
    }


def test_settings_can_let_duplicates_in(store: LocalStore) -> None:
    pairs = {1: (_draw(1), 2.0), 2: (_copy(_draw(1)), 1.5)}
    snapshot = _commit(store, [_publish(store, "a", pairs)], duplicates={"drop": False})
    assert set(_decisions(store, snapshot).values()) == {None}


def test_images_of_duplicates_are_stored_apart_where_dropped_ones_are(store: LocalStore) -> None:
    pairs = {1: (_draw(1), 2.0), 2: (_copy(_draw(1)), 1.5)}
    snapshot = _commit(store, [_publish(store, "a", pairs)], output={"store_dropped": True})
    dropped = iter_images(store, snapshot.parts, kind="dropped")
    assert [row["pair_id"] for batch in dropped for row in batch.to_pylist()] == [_id("a", 2)]
    assert _decisions(store, snapshot)["a", 2] == _id("a", 1)


def test_dedup_cleans_a_dataset_that_let_duplicates_in_and_takes_back_what_no_longer_holds(
    store: LocalStore,
) -> None:
    lax = {"duplicates": {"drop": False}}
    _commit(store, [_publish(store, "a", {1: (_draw(1), 1.5), 2: (_draw(2), 2.0)})], **lax)
    _commit(store, [_publish(store, "b", {1: (_copy(_draw(1)), 3.0)})], **lax)
    report = drop_duplicates(store, DuplicatesConfig())
    assert report.snapshot is not None
    assert (report.num_dropped, report.num_kept) == (1, 0)
    assert _decisions(store, report.snapshot)["a", 1] == _id("b", 1)
    assert drop_duplicates(store, DuplicatesConfig()).snapshot is None

    strict = drop_duplicates(store, DuplicatesConfig(min_clip_similarity=1.0))
    assert strict.snapshot is not None
    assert (strict.num_dropped, strict.num_kept) == (0, 1)
    assert set(_decisions(store, strict.snapshot).values()) == {None}


def test_a_recut_leaves_duplicates_dropped(store: LocalStore) -> None:
    pairs = {1: (_draw(1), 2.0), 2: (_copy(_draw(1)), 1.9), 3: (_draw(3), 1.2)}
    _commit(store, [_publish(store, "a", pairs)], output={"store_dropped": True})
    assert recut(store, {"min_combined": 1.5}).num_dropped == 1
    report = recut(store, {"min_combined": 1.0})
    assert report.snapshot is not None
    assert _decisions(store, report.snapshot)["a", 2] == _id("a", 1)


def test_verify_names_a_duplicate_of_a_pair_that_is_nowhere(store: LocalStore) -> None:
    pairs = {1: (_draw(1), 2.0), 2: (_copy(_draw(1)), 1.5)}
    _commit(store, [_publish(store, "a", pairs)])

    def point_nowhere(found: Any, _run: RunInfo) -> list[rows.Row]:
        return [{**r, "duplicate_of": r["duplicate_of"] and "f" * 32} for r in found]

    snapshot = rewrite_rows(store, Rewrite("test", {}, point_nowhere)).snapshot
    assert snapshot is not None
    report = _verify(store, snapshot)
    assert report.damage.counts == {Check.DUPLICATE_OF: 1}
    assert f"(pair {_id('a', 2)}): expected pair {'f' * 32}" in str(report.damage.listed[0])
