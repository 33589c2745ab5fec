"""Units: every pair in one, no partition mixed, none larger than it may be, the same each time."""

from collections import Counter

import numpy as np

from coupled_core.dataset.rows import Row
from coupled_core.export.folder import UnitId
from coupled_core.export.plan import COLUMNS, DatasetFacts, Selection, UnitAssigner

INSTRUCTED = {"edit_instruction": "forth", "inverse_instruction": "back"}
SELECTION = Selection(("train", "val", "test"), "both", max_shard_bytes=1000)


def _rows(count: int) -> list[Row]:
    random = np.random.default_rng(0)
    return [
        {
            **INSTRUCTED,
            "partition": str(random.choice(["train", "train", "val", "test"])),
            "image_0_bytes": int(random.integers(1, 150)),
            "image_1_bytes": int(random.integers(1, 150)),
        }
        for _ in range(count)
    ]


def _assign(rows: list[Row], selection: Selection = SELECTION) -> list[UnitId]:
    assigner = UnitAssigner(selection)
    return [assigner.assign(row) for row in rows]


def test_units_hold_one_split_and_no_more_bytes_than_allowed() -> None:
    rows = _rows(300)
    sizes: Counter[UnitId] = Counter()
    for row, unit in zip(rows, _assign(rows), strict=True):
        assert unit.partition == row["partition"]
        sizes[unit] += 2 * (row["image_0_bytes"] + row["image_1_bytes"])
    assert max(sizes.values()) <= 1000
    for partition in SELECTION.partitions:
        indices = sorted(unit.index for unit in sizes if unit.partition == partition)
        assert indices == list(range(len(indices))) and len(indices) > 3


def test_the_same_pairs_get_the_same_units() -> None:
    assert _assign(_rows(100)) == _assign(_rows(100))


def test_a_pair_larger_than_a_unit_gets_one_of_its_own() -> None:
    sizes = {"image_0_bytes": 5000, "image_1_bytes": 5000}
    huge = {**INSTRUCTED, "partition": "train", **sizes}
    assert [unit.index for unit in _assign([huge, huge, huge])] == [0, 1, 2]


def test_one_direction_puts_twice_the_pairs_into_a_unit() -> None:
    sizes = {"image_0_bytes": 50, "image_1_bytes": 50}
    rows = [{**INSTRUCTED, "partition": "train", **sizes} for _ in range(20)]
    both = max(_assign(rows)).index
    forward = max(_assign(rows, Selection(("train",), "forward", max_shard_bytes=1000))).index
    assert (both, forward) == (3, 1)


def test_a_lora_is_named_where_the_terms_of_the_images_are() -> None:
    row = dict.fromkeys(COLUMNS) | {"base_model": "FLUX.1", "weights": "sketch@0a1b*0.8"}
    facts = DatasetFacts()
    for each in (row, row | {"weights": None}):
        facts.count({**each, "image_0_bytes": 1, "image_1_bytes": 1})
    assert [made_by for made_by, *_ in facts.sources] == ["FLUX.1 with sketch@0a1b*0.8", "FLUX.1"]
