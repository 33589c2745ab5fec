"""Datasets of scored pairs with scores, texts and pictures of one's choice, committed for real."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from coupled_core import schedules
from coupled_core.config import FilterConfig, RunConfig
from coupled_core.dataset import rows
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.images import encode_image, encode_mask
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.filtering.decide import decide
from coupled_core.records import EditInstruction, EntityMask, GroupSplit, PairScores, PromptGroup
from coupled_core.storage.store import ObjectStore
from tests.sample_shards import SampleProvenance, sample_run_facts

SCHEDULE_FILE = Path(schedules.__file__).parent / "shipped" / "miniature-log-bias.json"
FILTER = FilterConfig(min_combined=1.0)
SCORES = PairScores(
    0.2, 0.8, -2.0, 0.3, 0.31, 30.5, 1.9, 0.8, 0.2, 30.0, 0.95, 812.0, 0.5, -0.2, 0.3
)


@dataclass(frozen=True)
class SamplePair:
    """What a test wants to say about a pair; everything else is ordinary."""

    prompts: tuple[str, str] = ("an owl at a lake", "a fox at a lake")
    entities: tuple[str, str] = ("an owl", "a fox")
    combined: float = 1.9
    mask_side: float = 0.3
    """Side of the entities' squares as a share of the image's."""
    pixel_mse: float = 812.0
    background_ssim: float = 0.95
    background_similarity_clear: float = -0.2
    rim_seam: float = 0.3
    crop_evidence: float | None = None
    """Of both images; None: they have no region."""
    extra_scores: Mapping[str, float] = field(default_factory=dict)
    background_prompt: str = "a lake"
    variation_kind: str = "entity_swap"
    group_id: str | None = None
    """None: one of its own."""
    indices: tuple[int, int] = (0, 1)
    """Which images of its group it has."""
    llm_cost_usd: float = 0.001
    gpu_seconds: float = 2.0


def spread_pairs(number: int, **same: Any) -> list[SamplePair]:
    """Return pairs whose combined scores rise in equal steps from 0 to 2."""
    return [SamplePair(combined=float(x), **same) for x in np.linspace(0, 2, number)]


def commit_pairs(
    store: ObjectStore,
    pairs: Sequence[SamplePair],
    *,
    run_id: str = "run",
    images: Sequence[rows.EncodedPair] | None = None,
    settings: Mapping[str, Any] | None = None,
    schedule_id: str | None = None,
    store_dropped: bool = False,
) -> Snapshot:
    """Decide about pairs with the real filter and commit them as one shard of a run.

    Args:
        store: The dataset; created, or added to.
        pairs: What to commit.
        run_id: Another run's pairs have other ids.
        images: Taken in turn; None: small ones.
        settings: Thresholds of the filter that differ from `FILTER`.
        schedule_id: As it stands in the manifest; None: the miniature's shipped one.
        store_dropped: Store the images of dropped pairs, too.
    """
    config = RunConfig(filter=FILTER.model_copy(update=dict(settings or {})))
    looks = images or [draw_pair(seed) for seed in range(4)]
    schedule = schedule_id or json.loads(SCHEDULE_FILE.read_text())["id"]
    made = [
        _row(run_id, index, pair, looks[index % len(looks)], config.filter, schedule)
        for index, pair in enumerate(pairs)
    ]
    stored = [rows.image_row(row["pair_id"], looks[i % len(looks)]) for i, row in enumerate(made)]
    pairs_made = [
        (row, image if row["kept"] or store_dropped else None)
        for row, image in zip(made, stored, strict=True)
    ]
    shard = upload_shard(store, pairs_made, run_id=run_id, shard_index=0)
    snapshot = commit_shards(store, [shard], _describe_run(run_id, config))
    assert snapshot is not None
    return snapshot


def draw_pair(seed: int, side_px: int = 48) -> rows.EncodedPair:
    """Return pictures that compress like photographs: smooth shapes, grain, one square differs."""
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=(side_px, side_px, 3)), (side_px / 12,) * 2 + (0,))
    grain = gaussian_filter(random.normal(size=(side_px, side_px, 3)), (1.0, 1.0, 0))
    scene = 128 + 60 * smooth / smooth.std() + 14 * grain / grain.std()
    mask = np.zeros((side_px, side_px), bool)
    mask[side_px // 4 : side_px // 2, side_px // 4 : side_px // 2] = True
    pictures = [_paint(scene, mask, colour) for colour in ((220, 60, 40), (40, 80, 220))]
    encoded = [encode_image(picture) for picture in pictures]
    return rows.EncodedPair(encoded[0], encoded[1], encode_mask(mask), encode_mask(mask))


def _paint(scene: Any, mask: Any, colour: tuple[int, int, int]) -> Any:
    painted = scene.copy()
    painted[mask] = 0.3 * painted[mask] + 0.7 * np.array(colour)
    return painted.clip(0, 255).astype(np.uint8)


def _row(
    run_id: str,
    index: int,
    pair: SamplePair,
    images: rows.EncodedPair,
    thresholds: FilterConfig,
    schedule_id: str,
) -> rows.Row:
    facts = sample_run_facts(run_id)
    prompts = {**dict.fromkeys(range(max(pair.indices)), "others"), **_at(pair, pair.prompts)}
    texts = tuple(prompts[place] for place in sorted(prompts))
    group = PromptGroup(pair.group_id or f"{run_id}-{index}", texts, "prompts.parquet", index)
    planned = rows.PlannedPair(_pair_id(run_id, index), group, pair.indices, 7, 0)
    side = max(1, round(pair.mask_side * 100)) if pair.mask_side else 0
    area = np.zeros((100, 100), bool)
    area[:side, :side] = True
    mask = EntityMask(area, predicted_iou=0.9 if side else 0.0, touches_border=False)
    scores = replace(
        SCORES,
        combined=pair.combined,
        pixel_mse=pair.pixel_mse,
        background_ssim=pair.background_ssim,
        background_similarity_clear=pair.background_similarity_clear,
        rim_seam=pair.rim_seam,
        crop_evidence_0=pair.crop_evidence,
        crop_evidence_1=pair.crop_evidence,
        extra_scores=pair.extra_scores,
        joint_entity_fraction=mask.area_fraction,
        validity_ratio=1 - mask.area_fraction,
    )
    return rows.complete_row(
        rows.plan_columns(planned, facts),
        rows.split_columns(_split(pair), planned),
        rows.generation_columns(
            SampleProvenance(schedule_id=schedule_id),
            size_px=(48, 48),
            generate_seconds=pair.gpu_seconds,
            device_name="NVIDIA H200",
            batch_size=8,
            num_pairs=1,
        ),
        rows.image_columns(images),
        rows.score_columns(scores, (mask, mask), facts),
        rows.decision_columns(decide(scores, (mask, mask), thresholds)),
    )


def _split(pair: SamplePair) -> GroupSplit:
    entities = {**dict.fromkeys(range(max(pair.indices)), "others"), **_at(pair, pair.entities)}
    return GroupSplit(
        background_prompt=pair.background_prompt,
        entity_prompts=tuple(entities[place] for place in sorted(entities)),
        edit_instructions={
            pair.indices: EditInstruction("Replace the one.", "model"),
            pair.indices[::-1]: EditInstruction("Replace the other.", "model"),
        },
        variation_kind=pair.variation_kind,
        source="batch",
        request_sha256="e" * 64,
        model="model",
        llm_cost_usd=pair.llm_cost_usd,
    )


def _at(pair: SamplePair, texts: tuple[str, str]) -> dict[int, str]:
    return dict(zip(pair.indices, texts, strict=True))


def _pair_id(run_id: str, index: int) -> str:
    return f"{sum(run_id.encode()):016x}{index:016x}"


def _describe_run(run_id: str, config: RunConfig) -> RunInfo:
    return RunInfo(
        run_id=run_id,
        config=config.model_dump(mode="json"),
        config_sha256="c" * 64,
        inputs=(),
        package_version="0.1.0",
    )
