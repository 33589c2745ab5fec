"""Samples, and a generator and a scorer that draw and measure squares, in no time at all."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coupled_core.config import RunConfig
from coupled_core.generation.provenance import GenerationProvenance
from coupled_core.generation.sampler import OnStep
from coupled_core.records import (
    EditInstruction,
    EntityMask,
    GeneratedSample,
    GroupSplit,
    PairScores,
    PromptGroup,
    QuarantinedRow,
    Rejection,
    RejectReason,
    Sample,
)
from coupled_core.runs.plan import Naming, ShardPlan, cut_shards
from coupled_core.runs.planned import PlanFiles, ShardInput
from coupled_core.runs.shard import ShardWork
from coupled_core.scoring.metrics import score_pair
from coupled_core.storage.local import LocalStore

RUN = "0123456789abcdef"
GENERATION = GenerationProvenance(
    base_model="toy",
    base_model_revision="1",
    schedule_id="s",
    coupling_mode="log_bias",
    num_inference_steps=2,
    guidance_scale=0.0,
    width=32,
    height=32,
    max_sequence_length=16,
    dtype="float32",
    device_name="cpu",
    license="none",
    use_restrictions="none",
    entity_text="full_prompt",
)
NAMING = Naming(0, "f" * 64, lambda group: make_split(group).request_sha256)


def make_group(number: int, num_prompts: int = 2, **fields: object) -> PromptGroup:
    prompts = tuple(f"a {i} in field {number}" for i in range(num_prompts))
    return PromptGroup(f"group-{number}", prompts, "set.parquet", number, **fields)  # type: ignore[arg-type]


def make_split(group: PromptGroup) -> GroupSplit:
    entities = tuple(prompt.split(" in ")[0] for prompt in group.prompts)
    count = range(len(entities))
    return GroupSplit(
        background_prompt=f"field {group.source_row}",
        entity_prompts=entities,
        edit_instructions={
            (i, j): EditInstruction(f"{i} to {j}", "rule") for i in count for j in count if i != j
        },
        variation_kind="entity_swap",
        source="offline",
        request_sha256=f"{group.source_row:064x}",
    )


def open_work(
    folder: Path,
    items: Sequence[PromptGroup | QuarantinedRow],
    *,
    done_samples: tuple[int, ...] = (),
    **settings: Any,
) -> ShardWork:
    """Return the work of a planned shard that holds all items; two samples are a batch."""
    config = RunConfig.model_validate(
        {
            "output": {"uri": str(folder), "shard_size": 1000, **settings.pop("output", {})},
            "generation": {"batch_size": 2},
            "filter": {"min_combined": -1e9, "min_pixel_mse": 0.0},
            **settings,
        }
    )
    files = PlanFiles(LocalStore(folder), RUN, config.output.shard_size)
    shards: Iterable[ShardInput] = cut_shards(items, config.output.shard_size, NAMING)
    (shard,) = list(files.write(shards))
    plan = ShardPlan(RUN, 0, shard.num_items, shard.num_pairs, done_samples)
    return ShardWork(config, plan, GENERATION)


def split_work(folder: Path, num_groups: int, **settings: Any) -> ShardWork:
    """Return the work of a shard whose groups are split; group k has seed k."""
    groups = [make_group(number, seed=number) for number in range(num_groups)]
    work = open_work(folder, groups, **settings)
    if work.find_outcomes() is None:
        work.keep_outcomes(tuple(map(make_split, groups)))
    return work


class SquareGenerator:
    """Draws a square whose place depends on the seed; fails for the seeds that it is told."""

    def __init__(self, failing_seeds: Sequence[int] = (), dies_at_batch: int | None = None) -> None:
        self.failing_seeds, self.dies_at_batch = failing_seeds, dies_at_batch
        self.batches: list[list[int]] = []
        self.announced: list[list[int]] = []

    def read_ahead(self, samples: Sequence[Sample]) -> None:
        self.announced.append([sample.seed for sample in samples])

    def generate(
        self, samples: Sequence[Sample], _on_step: OnStep | None = None
    ) -> list[GeneratedSample | Rejection]:
        if self.dies_at_batch == len(self.batches):
            raise RuntimeError("out of memory")
        self.batches.append([sample.seed for sample in samples])
        return [self._draw(sample) for sample in samples]

    def _draw(self, sample: Sample) -> GeneratedSample | Rejection:
        if sample.seed in self.failing_seeds:
            return Rejection(RejectReason.GENERATION_FAILED, "not finite")
        return GeneratedSample(
            tuple(draw_square(sample.seed, i) for i in range(len(sample.group.prompts))), 0.5, "toy"
        )


class SquareScorer:
    """Knows where the square is."""

    def __init__(self) -> None:
        self.num_scored = 0

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([np.resize(image[::8, ::8].astype(np.float32), 64) for image in images])

    def score(
        self, sample: Sample, generated: GeneratedSample, image_embeddings: np.ndarray
    ) -> tuple[list[EntityMask], dict[tuple[int, int], PairScores]]:
        self.num_scored += 1
        masks = [EntityMask(image[..., 0] > 200, 0.9, False) for image in generated.images]
        embedding = np.ones(4, np.float32) / 2
        scores = {
            (i, j): score_pair(
                (generated.images[i], generated.images[j]),
                (masks[i].mask, masks[j].mask),
                (embedding, embedding),
                (embedding, embedding),
            )
            for i, j in sample.pairs
        }
        return masks, scores


def draw_square(seed: int, index: int) -> np.ndarray:
    image = np.full((32, 32, 3), 40 + seed % 150, np.uint8)
    image[8 : 14 + index, 8 : 14 + index] = 255
    return image
