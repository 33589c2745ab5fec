"""Datasets of pairs some of which look alike: pictures, hashes, shards and snapshots are real."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from coupled_core.config import RunConfig
from coupled_core.dataset import rows
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import UploadedShard, upload_shard
from coupled_core.dataset.images import encode_image, encode_mask
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.verify import verify_snapshot
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


def draw(seed: int) -> Pictures:
    """Return two smooth pictures that no other seed's are near to."""
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=(2, 48, 48, 3)), (0, 5, 5, 0))
    scenes = 128 + 50 * smooth / smooth.std()
    return tuple(scene.clip(0, 255).astype(np.uint8) for scene in scenes)  # type: ignore[return-value]


def copy_of(pictures: Pictures) -> Pictures:
    """Return the pictures with grain, as a run on another machine might make them."""
    grain = np.random.default_rng(1).normal(0, 3, pictures[0].shape)
    return tuple((p + grain).clip(0, 255).astype(np.uint8) for p in pictures)  # type: ignore[return-value]


def _row(
    run_id: str, number: int, pictures: Pictures, combined: float
) -> tuple[rows.Row, rows.Row]:
    facts = sample_run_facts(run_id)
    group = PromptGroup(f"{run_id}-{number}", ("an owl", "a fox"), "prompts.parquet", number)
    pair = rows.PlannedPair(f"{sum(run_id.encode()):016x}{number:016x}", group, (0, 1), 7, 0)
    instructions = {(0, 1): EditInstruction("a"), (1, 0): EditInstruction("b")}
    split = GroupSplit("a lake", ("an owl", "a fox"), instructions, "pose", "given", "e")
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
            batch_size=8,
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


def upload_pairs(
    store: LocalStore,
    run_id: str,
    pairs: Mapping[int, tuple[Pictures, float]],
    shard_index: int = 0,
) -> UploadedShard:
    """Upload kept pairs: number -> pictures and combined metric."""
    made = [_row(run_id, number, *pair) for number, pair in pairs.items()]
    return upload_shard(store, made, run_id=run_id, shard_index=shard_index)


def describe_settings(run_id: str, **stages: Mapping[str, Any]) -> RunInfo:
    settings = {"filter": {"min_combined": 1.0}, **stages}
    config = RunConfig.model_validate(settings).model_dump(mode="json")
    return RunInfo(
        run_id=run_id, config=config, config_sha256="c", inputs=(), package_version="0.1.0"
    )


def commit_pairs(store: LocalStore, shards: list[UploadedShard], **stages: Any) -> Snapshot:
    snapshot = commit_shards(store, shards, describe_settings(shards[0].run_id, **stages))
    assert snapshot is not None
    return snapshot


def decisions_of(store: LocalStore, snapshot: Snapshot) -> dict[tuple[str, int], str | None]:
    """Return what each pair duplicates, by run and number; check that all else fits to it."""
    assert [str(each) for each in verify_snapshot(store, snapshot).damage.listed] == []
    found = [row for batch in iter_manifest(store, snapshot.parts) for row in batch.to_pylist()]
    for row in found:
        reasons = [] if row["duplicate_of"] is None else ["duplicate"]
        assert (row["kept"], row["reject_reasons"]) == (not reasons, reasons)
    return {(row["run_id"], row["source_row"]): row["duplicate_of"] for row in found}


def id_of(run_id: str, number: int) -> str:
    return f"{sum(run_id.encode()):016x}{number:016x}"
