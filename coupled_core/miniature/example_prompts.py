"""The example prompt set that the package ships.

`python -m coupled_core.miniature.example_prompts` writes it: 40 groups in the wording that the
miniature was trained on. The prompts of a group are captions of one place in one light, written by
the same template; only the entity, its colour and its verb differ.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.miniature.captions import write_caption
from coupled_core.miniature.paths import miniature_folder
from coupled_core.miniature.world import (
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


def write_example_prompts(folder: Path) -> Path:
    """Write the set into a folder and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    pq.write_table(build_example_table(), path)
    return path


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


if __name__ == "__main__":
    print(write_example_prompts(miniature_folder("prompts")))
