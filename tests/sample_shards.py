"""Small but complete shards, made by the real row builders."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from coupled_core.dataset import rows
from coupled_core.dataset.commit.upload import UploadedShard, upload_shard
from coupled_core.dataset.images import encode_image, encode_mask
from coupled_core.dataset.snapshot import InputInfo, RunInfo
from coupled_core.records import (
    CouplingMode,
    Decision,
    EditInstruction,
    EntityMask,
    EntityText,
    GenerationProvenance,
    GroupSplit,
    ImageDescriptor,
    PairScores,
    PromptGroup,
    QuarantinedRow,
    Rejection,
    RejectReason,
)
from coupled_core.runs.identity import quarantined_id
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class SampleProvenance(GenerationProvenance):
    """Provenance of a generator that nobody ran."""

    base_model: str = "miniature"
    base_model_revision: str = "1"
    schedule_id: str = "5c3d"
    coupling_mode: CouplingMode = "log_bias"
    num_inference_steps: int = 4
    guidance_scale: float = 3.5
    width: int = 16
    height: int = 16
    max_sequence_length: int = 32
    dtype: str = "float32"
    device_name: str = "cpu"
    license: str = "Apache-2.0"
    use_restrictions: str = "none"
    entity_text: EntityText = "full_prompt"


@dataclass(frozen=True)
class ShardRows:
    """What the stages hand over for one shard."""

    rows: list[rows.Row]
    image_rows: list[rows.Row]


def sample_run_facts(run_id: str) -> rows.RunFacts:
    """Return the facts of a run with made-up versions."""
    return rows.RunFacts(
        run_id=run_id,
        config_sha256="c" * 64,
        created_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        package_version="0.1.0",
        torch_version="2.15",
        diffusers_version="0.42.1",
        code_revision=None,
        sam_model="miniature",
        clip_model="miniature",
        metric_version="1",
    )


def make_rows(
    run_id: str, shard_index: int, num_kept: int = 2, num_dropped: int = 1, side_px: int = 16
) -> ShardRows:
    """Build real rows: kept and dropped pairs, one failed and one quarantined."""
    made = ShardRows([], [])
    facts = sample_run_facts(run_id)
    for index in range(num_kept + num_dropped):
        pair = _sample_pair(shard_index, index)
        images = _sample_images(np.random.default_rng([shard_index, index]), side_px)
        is_kept = index < num_kept
        made.rows.append(_scored_row(pair, facts, images, side_px, is_kept=is_kept))
        if is_kept:
            made.image_rows.append(rows.image_row(pair.pair_id, images))
    lost = Rejection(RejectReason.SPLIT_FAILED, "no common background")
    made.rows.append(rows.failed_row(_sample_pair(shard_index, 900), facts, lost))
    bad = QuarantinedRow("prompts.parquet", 900 + shard_index, None, "prompts: empty")
    bad_id = quarantined_id(
        source_file=bad.source_file, source_row=bad.source_row, message=bad.message
    )
    made.rows.append(rows.quarantined_row(bad, bad_id, shard_index, facts))
    return made


def vary_row(row: rows.Row, number: int) -> rows.Row:
    """Return a row like another, with ids and looks of its own."""
    bits = random.Random(number).getrandbits
    hashes = {
        f"image_{side}_{name}": f"{bits(4 * digits):0{digits}x}"
        for side in (0, 1)
        for name, digits in (("phash", 16), ("clip_code", 128), ("sha256", 64))
    }
    return {**row, "pair_id": f"{2**127 + number:032x}", "group_id": f"group-{number}", **hashes}


def publish(store: ObjectStore, run_id: str, shard_index: int, **sizes: int) -> UploadedShard:
    """Upload the parts of a sample shard."""
    made = make_rows(run_id, shard_index, **sizes)
    pairs = with_images(made.rows, made.image_rows)
    return upload_shard(store, pairs, run_id=run_id, shard_index=shard_index)


def with_images(
    made: Sequence[rows.Row], image_rows: Sequence[rows.Row]
) -> list[tuple[rows.Row, rows.Row | None]]:
    """Return manifest rows, each with the row of its images where there is one."""
    found = {image["pair_id"]: image for image in image_rows}
    return [(row, found.get(row["pair_id"])) for row in made]


def describe_run(run_id: str) -> RunInfo:
    """Return a run as a commit wants it."""
    return RunInfo(
        run_id=run_id,
        config={"seed": 0},
        config_sha256="c" * 64,
        inputs=(InputInfo(uri="prompts.parquet", sha256="d" * 64, num_rows=4),),
        package_version="0.1.0",
    )


def _sample_pair(shard_index: int, index: int) -> rows.PlannedPair:
    group = PromptGroup(
        group_id=f"group-{shard_index}-{index}",
        prompts=("an owl at a lake", "a fox at a lake"),
        source_file="prompts.parquet",
        source_row=index,
        extra={"theme": "animals"},
    )
    return rows.PlannedPair(f"{shard_index:016x}{index:016x}", group, (0, 1), 7, shard_index)


def _sample_descriptors(pair: rows.PlannedPair) -> tuple[ImageDescriptor, ...]:
    """Return descriptors that no other pair's are near to."""
    seed = int(pair.pair_id, 16)
    return tuple(
        ImageDescriptor(np.random.default_rng([seed, number]).bytes(64).hex()) for number in (0, 1)
    )


def _sample_images(random: np.random.Generator, side_px: int) -> rows.EncodedPair:
    pictures = random.integers(0, 256, (2, side_px, side_px, 3), dtype=np.uint8)
    mask = np.zeros((side_px, side_px), bool)
    mask[: side_px // 4, : side_px // 4] = True
    return rows.EncodedPair(
        encode_image(pictures[0]), encode_image(pictures[1]), encode_mask(mask), encode_mask(mask.T)
    )


def _scored_row(
    pair: rows.PlannedPair,
    facts: rows.RunFacts,
    images: rows.EncodedPair,
    side_px: int,
    *,
    is_kept: bool,
) -> rows.Row:
    split = GroupSplit(
        background_prompt="a lake",
        entity_prompts=("an owl", "a fox"),
        edit_instructions={
            (0, 1): EditInstruction("Replace the owl with a fox.", "rule"),
            (1, 0): EditInstruction("Replace the fox with an owl.", "rule"),
        },
        variation_kind="entity_swap",
        source="offline",
        request_sha256="e" * 64,
        prompt_version="1",
    )
    mask = EntityMask(np.eye(16, dtype=bool), predicted_iou=0.9, touches_border=True)
    scores = PairScores(
        0.2, 0.8, -2.0, 0.3, 0.31, 30.5, 1.955, 0.8, 0.2, 30.0, 0.95, 812.0, 0.5, -0.2, 0.3
    )
    reasons = () if is_kept else ("below_min_combined", "mask_too_large")
    return rows.complete_row(
        rows.plan_columns(pair, facts),
        rows.split_columns(split, pair),
        rows.generation_columns(
            SampleProvenance(),
            size_px=(side_px, side_px),
            generate_seconds=1.5,
            device_name="cpu",
            batch_size=8,
            num_pairs=1,
        ),
        rows.image_columns(images),
        rows.score_columns(scores, (mask, mask), facts, _sample_descriptors(pair)),
        rows.decision_columns(Decision(is_kept, reasons)),
    )
