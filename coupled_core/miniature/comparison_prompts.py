"""The prompt sets on which methods are tuned and compared: `miniature-train`, `miniature-test`.

`python -m coupled_core.miniature.comparison_prompts` writes both. A group is two captions of one
place in one light, written by the same template; the entity, its colour, or both differ. No prompt
stands in two sets, the example set included, and no two groups start from the same noise.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.miniature.example_prompts import (
    build_example_table,
    caption_alike,
    list_visible_colours,
)
from coupled_core.miniature.paths import miniature_folder
from coupled_core.miniature.world import AIRBORNE, BACKGROUNDS, ENTITIES, LIGHTS

SCHEMA = pa.schema(
    [
        ("group_id", pa.string()),
        ("prompts", pa.list_(pa.string())),
        ("seed", pa.int64()),
        ("variation_kind", pa.string()),
    ]
)
_MIXED_SHARE = 1 / 6  # one entity in the air, one on the ground
_SAME_COLOUR_SHARE, _SAME_ENTITY_SHARE = 0.15, 0.10


@dataclass(frozen=True)
class PromptSetPlan:
    """What decides one set."""

    file_name: str
    num_groups: int
    """A multiple of 24: every place in every light equally often."""
    scene_seed: int
    """Training drew its scenes from 11 and 12, the example set from 7, the check from 900,000."""
    first_noise_seed: int
    """The groups' seeds count up from here."""


TRAIN = PromptSetPlan("train.parquet", 72, 910_000, 910_000_000)
TEST = PromptSetPlan("test.parquet", 216, 920_000, 920_000_000)


def build_comparison_tables() -> dict[str, pa.Table]:
    """Return both sets by file name; the same tables every time."""
    taken = {prompt for row in build_example_table().to_pylist() for prompt in row["prompts"]}
    return {plan.file_name: _build_table(plan, taken) for plan in (TRAIN, TEST)}


def write_comparison_prompts(folder: Path) -> list[Path]:
    """Write both sets into a folder and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for file_name, table in build_comparison_tables().items():
        pq.write_table(table, folder / file_name)
        paths.append(folder / file_name)
    return paths


def _build_table(plan: PromptSetPlan, taken: set[str]) -> pa.Table:
    """Draw one set; its prompts are added to `taken`."""
    rng = np.random.default_rng(plan.scene_seed)
    places = [(place, light) for light in LIGHTS for place in BACKGROUNDS]
    rows = []
    for index in range(plan.num_groups):
        place, light = places[index % len(places)]
        things, prompts = _draw_new(rng, place, light, taken)
        taken.update(prompts)
        named = "-".join(f"{colour}-{entity}" for colour, entity in things)
        rows.append(
            {
                "group_id": f"{Path(plan.file_name).stem}-{index:03d}-{place}-{light}-{named}",
                "prompts": prompts,
                "seed": plan.first_noise_seed + index,
                "variation_kind": "appearance" if things[0][1] == things[1][1] else "entity_swap",
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _draw_new(
    rng: np.random.Generator, place: str, light: str, taken: set[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Draw two (colour, entity) and their prompts until neither prompt stands in a set already."""
    while True:
        things = _draw_things(rng, list_visible_colours(place, light))
        prompts = caption_alike(int(rng.integers(2**31)), place, light, things)
        if taken.isdisjoint(prompts):
            return things, prompts


def _draw_things(rng: np.random.Generator, colours: list[str]) -> list[tuple[str, str]]:
    kind = rng.random()
    air = [entity for entity in ENTITIES if entity in AIRBORNE]
    ground = [entity for entity in ENTITIES if entity not in AIRBORNE]
    if rng.random() < _MIXED_SHARE:
        entities = [str(rng.choice(air)), str(rng.choice(ground))]
    else:
        layer = air if rng.random() < len(air) / len(ENTITIES) else ground
        entities = [str(entity) for entity in rng.choice(layer, 2, replace=False)]
    drawn = [str(colour) for colour in rng.choice(colours, 2, replace=False)]
    if kind < _SAME_ENTITY_SHARE:
        entities[1] = entities[0]
    elif kind < _SAME_ENTITY_SHARE + _SAME_COLOUR_SHARE:
        drawn[1] = drawn[0]
    return list(zip(drawn, entities, strict=True))


if __name__ == "__main__":
    for written in write_comparison_prompts(miniature_folder("prompts")):
        print(written)
