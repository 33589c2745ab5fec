"""Samples, and a generator and a scorer that draw and measure squares, in no time at all."""

from collections.abc import Sequence

import numpy as np

from coupled_core.records import (
    EditInstruction,
    EntityMask,
    GeneratedSample,
    GroupSplit,
    PairScores,
    PromptGroup,
    Rejection,
    RejectReason,
    Sample,
)
from coupled_core.scoring.metrics import score_pair


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


def make_samples(count: int) -> dict[str, Sample]:
    groups = [make_group(number) for number in range(count)]
    return {f"key-{g.source_row}": Sample(g, g.source_row, make_split(g)) for g in groups}


class SquareGenerator:
    """Draws a square whose place depends on the seed; fails for the seeds that it is told."""

    def __init__(self, failing_seeds: Sequence[int] = (), dies_at_batch: int | None = None) -> None:
        self.failing_seeds, self.dies_at_batch = failing_seeds, dies_at_batch
        self.batches: list[list[int]] = []

    def generate(self, samples: Sequence[Sample]) -> list[GeneratedSample | Rejection]:
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
