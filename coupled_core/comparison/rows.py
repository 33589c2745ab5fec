"""Evaluated pairs as rows of the results."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from coupled_core.comparison.results import SCHEMA, SCORE_NAMES, Part
from coupled_core.dataset.images import encode_image
from coupled_core.evaluation.pairs import EvaluatedPair
from coupled_core.methods.method import Knobs
from coupled_core.records import Sample

Images = Mapping[str, Sequence[np.ndarray]]
"""Images of some samples, by `key_of`; uint8, (H, W, 3), RGB."""


def build_rows(
    part: Part,
    variant: str,
    knobs: Knobs,
    samples: Sequence[Sample],
    pairs: Sequence[EvaluatedPair],
    images: Images,
) -> pa.Table:
    """Return the rows of evaluated pairs.

    Args:
        part: what they were evaluated for.
        variant: which point of it.
        knobs: those of the method.
        samples: all that the pairs belong to.
        pairs: what `Evaluator.evaluate` returned.
        images: of the samples whose pairs are to be shown.
    """
    by_key = {key_of(sample): sample for sample in samples}
    rows = []
    for pair in pairs:
        key = f"{pair.group_id}:{pair.seed}"
        row = _describe(by_key[key], pair) | {"part": part, "variant": variant}
        row["knobs"] = sorted((name, float(value)) for name, value in knobs.items())
        for side, index in enumerate((pair.image_i, pair.image_j)):
            shown = images.get(key)
            row[f"image_{side}"] = encode_image(shown[index]).data if shown else None
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def key_of(sample: Sample) -> str:
    """Return what tells a sample from the others."""
    return f"{sample.group.group_id}:{sample.seed}"


def _describe(sample: Sample, pair: EvaluatedPair) -> dict[str, Any]:
    scores = asdict(pair.scores) if pair.scores else dict.fromkeys(SCORE_NAMES)
    i, j = pair.image_i, pair.image_j
    return {
        "method": pair.method,
        "group_id": pair.group_id,
        "seed": pair.seed,
        "image_i": i,
        "image_j": j,
        "prompt_0": sample.group.prompts[i],
        "prompt_1": sample.group.prompts[j],
        "background_prompt": sample.split.background_prompt,
        "entity_prompt_0": sample.split.entity_prompts[i],
        "entity_prompt_1": sample.split.entity_prompts[j],
        **scores,
        "guards": [guard.value for guard in pair.guards],
        "objective": pair.objective,
        "seconds": pair.seconds,
        "model_evaluations": pair.model_evaluations,
    }
