"""Chains of edits through groups of more than two images."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from coupled_core.export.edits import Directions
from coupled_core.export.formats.multi_turn import find_chains
from coupled_core.storage.open_store import open_store
from tests.sample_pairs import SamplePair, commit_pairs, draw_pair
from tests.unit.export.export_samples import export


def _edits(*steps: str) -> list[dict[str, Any]]:
    return [{"source": step[0], "target": step[1], "key": step} for step in steps]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("ab ac bc", ["ab bc", "ac"]),
        ("ab ac ad bc bd cd", ["ab bc cd", "ac", "ad", "bd"]),
        ("ab cd", ["ab", "cd"]),
        ("bc ab", ["ab bc"]),
        ("ca ba cb", ["cb ba", "ca"]),
    ],
)
def test_each_edit_is_in_one_chain_and_chains_are_long(steps: str, expected: list[str]) -> None:
    chains = [
        " ".join(edit["key"] for edit in chain) for chain in find_chains(_edits(*steps.split()))
    ]
    assert chains[0] == expected[0]
    assert sorted(chains) == sorted(expected)


@pytest.mark.parametrize("steps", ["aa", "ab ba", "ab ba aa bc"])
def test_equal_images_of_a_group_do_not_send_the_search_round_in_circles(steps: str) -> None:
    edits = _edits(*steps.split())
    chains = list(find_chains(edits))
    assert sorted(edit["key"] for chain in chains for edit in chain) == sorted(steps.split())
    for chain in chains:
        assert all(one["target"] == other["source"] for one, other in pairwise(chain))


@pytest.mark.parametrize(("directions", "num_lines"), [("both", 6), ("forward", 3)])
def test_a_group_of_three_images_is_a_chain_of_two_edits(
    tmp_path: Path, directions: Directions, num_lines: int
) -> None:
    store = open_store(tmp_path / "pairs")
    looks = [draw_pair(seed) for seed in range(3)]
    images = [look.image_0 for look in looks]
    mask = looks[0].mask_0
    steps = [(0, 1), (0, 2), (1, 2)]
    trio = [
        SamplePair(
            group_id="trio", indices=step, prompts=(f"prompt {step[0]}", f"prompt {step[1]}")
        )
        for step in steps
    ]
    shown = [type(looks[0])(images[i], images[j], mask, mask) for i, j in steps]
    snapshot = commit_pairs(store, [*trio, SamplePair(group_id="other")], images=[*shown, looks[1]])
    export(
        store,
        snapshot,
        "multi-turn",
        tmp_path / "out",
        partition=_partition(store),
        directions=directions,
    )
    lines = [json.loads(line) for line in (tmp_path / "out" / "chains.jsonl").open()]
    assert len(lines) == num_lines
    assert sum(len(line["edits"]) for line in lines) == (8 if directions == "both" else 4)
    chain = max(lines, key=lambda line: len(line["images"]))
    names = [f"images/{image.sha256[:32]}.png" for image in images]
    assert chain["images"] == names
    assert chain["captions"] == ["prompt 0", "prompt 1", "prompt 2"]
    assert len(chain["instructions"]) == 2
    assert all((tmp_path / "out" / name).is_file() for line in lines for name in line["images"])
    for line in lines:
        assert len(list(pairwise(line["images"]))) == len(line["edits"])


def _partition(store: Any) -> str:
    from coupled_core.dataset.reader import current_snapshot, iter_manifest

    snapshot = current_snapshot(store)
    (batch,) = iter_manifest(store, snapshot.parts, ["partition"])
    return str(batch["partition"][0])
