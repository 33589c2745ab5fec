"""Makes the prompt sets that the package ships: the example set, and those of comparisons.

    python -m coupled_core.research.drawn_world.prompt_sets [--fresh SEED FILE] [--num-groups N]

With a seed it writes another set into a file, which shares no prompt with the shipped ones, to
judge on what nobody has looked at. A longer set of a seed begins with the shorter ones.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.miniature import miniature_folder
from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.drawn_world.scenes import (
    AIRBORNE,
    BACKGROUNDS,
    COLOURS,
    ENTITIES,
    LIGHTS,
    NUM_LAYOUT,
    Scene,
)

FILE_NAME = "example.parquet"
_SEED = 7
_NUM_GROUPS = 40
_THREE_PROMPTS = frozenset({2, 11, 15, 21, 25, 35})
_FOUR_PROMPTS = frozenset({6, 32, 36, 39})
_MIXED_EVERY = 6  # every so many groups, one has entities in the air and on the ground
_RECOLOURED = frozenset({5, 13, 21, 33})  # groups whose entity only changes colour
_HARD_TO_SEE = {
    "meadow": {"green"},
    "forest": {"green"},
    "snowfield": {"white"},
    "beach": {"yellow"},
    "desert": {"orange", "yellow"},
    "lake": {"blue"},
    "night": {"black"},
}  # fmt: skip
_GROUND = tuple(entity for entity in ENTITIES if entity not in AIRBORNE)
_AIR = tuple(entity for entity in ENTITIES if entity in AIRBORNE)


def build_example_table() -> pa.Table:
    """Write the set's captions; the same table every time."""
    rng = np.random.default_rng(_SEED)
    places = [(place, light) for light in LIGHTS for place in BACKGROUNDS]
    rows = []
    for index in range(_NUM_GROUPS):
        num_entities = 2 + (index in _THREE_PROMPTS) + 2 * (index in _FOUR_PROMPTS)
        place, light = places[index % len(places)]
        things = _choose_things(rng, index, num_entities, list_visible_colours(place, light))
        prompts = caption_alike(int(rng.integers(2**31)), place, light, things)
        rows.append({"group_id": _name_group(place, light, things), "prompts": prompts})
    schema = pa.schema([("group_id", pa.string()), ("prompts", pa.list_(pa.string()))])
    return pa.Table.from_pylist(rows, schema=schema)


def list_visible_colours(place: str, light: str) -> list[str]:
    """Return the colours that stand out against a place in its light."""
    hidden = _HARD_TO_SEE.get(place, set()) | _HARD_TO_SEE.get(light, set())
    return [colour for colour in COLOURS if colour not in hidden]


def _choose_things(
    rng: np.random.Generator, index: int, num_entities: int, colours: Sequence[str]
) -> list[tuple[str, str]]:
    """Draw (colour, entity) for each prompt; entities of one group mostly share air or ground."""
    if index in _RECOLOURED:
        entities = [ENTITIES[index % len(ENTITIES)]] * num_entities
    elif index % _MIXED_EVERY == 0:
        entities = [str(rng.choice(_AIR)), str(rng.choice(_GROUND))]
        rest = [entity for entity in ENTITIES if entity not in entities]
        entities += [str(e) for e in rng.choice(rest, num_entities - 2, replace=False)]
    else:
        layer = _AIR if index % 3 == 1 and num_entities <= len(_AIR) else _GROUND
        entities = [str(e) for e in rng.choice(layer, num_entities, replace=False)]
    drawn = rng.choice(colours, num_entities, replace=False)
    return [(str(colour), entity) for colour, entity in zip(drawn, entities, strict=True)]


def caption_alike(
    seed: int, place: str, light: str, things: Sequence[tuple[str, str]]
) -> list[str]:
    """Caption each thing with the same random choices, so that place, light and template agree."""
    layout = (0.0,) * NUM_LAYOUT  # no caption mentions it
    scenes = [
        Scene(place, light, layout, texture_seed=0, entity=entity, colour=colour)
        for colour, entity in things
    ]
    return [write_caption(np.random.default_rng(seed), scene, "full") for scene in scenes]


def _name_group(place: str, light: str, things: Sequence[tuple[str, str]]) -> str:
    entities = [entity for _, entity in things]
    is_recoloured = len(set(entities)) == 1
    named = [f"{c}-{e}" if is_recoloured else e for c, e in things]
    return "-".join([place, light, *named])


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


def build_fresh_table(seed: int, num_groups: int) -> pa.Table:
    """Return a set like those of comparisons that shares no prompt with any that is shipped.

    Args:
        seed: of the scenes, and with three zeros of the first noise.
        num_groups: a multiple of 24, or the last place and light come up short.
    """
    shipped = [build_example_table(), *build_comparison_tables().values()]
    taken = {prompt for table in shipped for row in table["prompts"].to_pylist() for prompt in row}
    return _build_table(PromptSetPlan("fresh.parquet", num_groups, seed, seed * 1000), taken)


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
    if rng.random() < _MIXED_SHARE:
        entities = [str(rng.choice(_AIR)), str(rng.choice(_GROUND))]
    else:
        layer = _AIR if rng.random() < len(_AIR) / len(ENTITIES) else _GROUND
        entities = [str(entity) for entity in rng.choice(layer, 2, replace=False)]
    drawn = [str(colour) for colour in rng.choice(colours, 2, replace=False)]
    if kind < _SAME_ENTITY_SHARE:
        entities[1] = entities[0]
    elif kind < _SAME_ENTITY_SHARE + _SAME_COLOUR_SHARE:
        drawn[1] = drawn[0]
    return list(zip(drawn, entities, strict=True))


def write_prompt_sets(folder: Path) -> list[Path]:
    """Write the example set and both sets of comparisons into a folder and return their files."""
    paths = []
    for file_name, table in {FILE_NAME: build_example_table(), **build_comparison_tables()}.items():
        pq.write_table(table, folder / file_name)
        paths.append(folder / file_name)
    return paths


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the shipped sets, or a fresh one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--fresh", nargs=2, metavar=("SEED", "FILE"), help="write another set")
    parser.add_argument(
        "--num-groups",
        type=int,
        default=TEST.num_groups,
        help="groups of --fresh, best a "
        "multiple of 24: every place in every light equally often; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    if options.fresh is None:
        for written in write_prompt_sets(miniature_folder("prompts")):
            print(written)
        return
    seed, path = options.fresh
    pq.write_table(build_fresh_table(int(seed), options.num_groups), path)
    print(path)


if __name__ == "__main__":
    main()
