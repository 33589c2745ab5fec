"""A results table whose means and differences can be worked out by hand."""

from typing import Any

import numpy as np
import pyarrow as pa

from coupled_core.dataset.images import encode_image
from coupled_core.records import METRIC_NAMES
from coupled_core.research.comparison.results import SCHEMA


def build_row(
    method: str,
    group: str,
    *,
    part: str = "comparison",
    variant: str = "",
    similarity: float | None = -1.0,
    alignment: float | None = 20.0,
    combined: float | None = 1.0,
    objective: float | None = None,
    guards: tuple[str, ...] = (),
    seconds: float = 0.5,
    evaluations: float = 48.0,
    shade: int | None = None,
) -> dict[str, Any]:
    """Return one row; `shade` is the grey of both images, None for a row without."""
    scores = dict.fromkeys(METRIC_NAMES, 0.0 if combined is not None else None)
    picture = None
    if shade is not None:
        picture = encode_image(np.full((64, 64, 3), shade, np.uint8)).data
    return {
        **scores,
        "part": part,
        "method": method,
        "variant": variant,
        "group_id": group,
        "seed": 1,
        "image_i": 0,
        "image_j": 1,
        "prompt_0": f"A red kite over {group}.",
        "prompt_1": f"A blue car in {group}.",
        "background_prompt": group,
        "entity_prompt_0": "a red kite",
        "entity_prompt_1": "a blue car",
        "background_similarity": similarity,
        "alignment": alignment,
        "combined": combined,
        "guards": list(guards),
        "right_fraction": None,
        "rings_0": None,
        "rings_1": None,
        "objective": combined if objective is None else objective,
        "seconds": seconds,
        "model_evaluations": evaluations,
        "knobs": [("switch", 0.25)] if method == "prompt-switch" else [],
        "image_0": picture,
        "image_1": picture,
    }


def build_results(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as a results table."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def compare_two() -> list[dict[str, Any]]:
    """Return ours and the prompt switch on two groups.

    J of ours is 1.0 and 2.0, of the switch 0.5 and 1.0: the differences are -0.5 and -1.0. On the
    second group the switch loses an entity, so its guarded J there is the floor, here -3.0.
    """
    return [
        build_row("coupled", "lake", similarity=-1.0, alignment=20.0, combined=1.0),
        build_row("coupled", "forest", similarity=-3.0, alignment=24.0, combined=2.0),
        build_row("prompt-switch", "lake", similarity=-4.0, alignment=18.0, combined=0.5,
                  seconds=0.25, evaluations=40.0),
        build_row("prompt-switch", "forest", similarity=-8.0, alignment=19.0, combined=1.0,
                  objective=-3.0, guards=("empty_mask",), seconds=0.75, evaluations=44.0),
    ]  # fmt: skip
