"""Chains of edits, for training to edit in several turns: JSONL, a line a chain.

In a group of three images or more the target of one edit is the source of others. Each edit stands
in one line, in the longest chain that it fits into; a pair of its own is a chain of one edit. The
layout is what chats are made from: turn k shows `images[k]`, says `instructions[k]` and expects
`images[k + 1]`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from coupled_core.export.edits import DirectedEdit, ImageFile
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    IndexRow,
    locate,
    read_jsonl,
    write_lines,
)
from coupled_core.export.plan import ExportPlan

_INDEX = "chains.jsonl"


def _path(image: ImageFile) -> str:
    # The same image in another pair of its group is the same file.
    return f"images/{image.sha256[:32]}.png"


def _index_row(edit: DirectedEdit) -> IndexRow:
    return {
        "group": [edit.row["group_id"] or edit.pair_id, edit.row["seed"]],
        "direction": edit.direction,
        "source": _path(edit.source),
        "target": _path(edit.target),
        "captions": [edit.source_caption, edit.target_caption],
        "instruction": edit.instruction,
        "key": edit.key,
    }


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    rows = folder.iter_index(plan.num_pairs_by_unit)
    groups = (list(group) for _, group in groupby(rows, lambda row: row["group"]))

    def lines() -> Iterator[str]:
        for group in groups:
            for direction in ("forward", "backward"):
                for chain in find_chains([r for r in group if r["direction"] == direction]):
                    yield json.dumps(_describe(chain, lambda path: locate(folder, plan, path)))

    return (write_lines(folder, _INDEX, lines()),)


def find_chains(edits: Iterable[IndexRow]) -> Iterator[list[IndexRow]]:
    """Take edits apart into chains, a longest one first; equal lengths go by the given order.

    Args:
        edits: Index rows of one group in one direction. They form a circle only where two of its
            images are equal.
    """
    left = list(edits)
    while left:
        chain = _find_longest(left)
        yield chain
        left = [edit for edit in left if edit not in chain]


def _find_longest(edits: list[IndexRow]) -> list[IndexRow]:
    found: dict[int, tuple[int, ...]] = {}

    def follow(place: int) -> tuple[int, ...]:
        if place not in found:
            found[place] = ()  # for who comes back here in a circle
            target = edits[place]["target"]
            later = (follow(i) for i, edit in enumerate(edits) if edit["source"] == target)
            found[place] = (place, *max(later, key=len, default=()))
        return found[place]

    return [edits[place] for place in max(map(follow, range(len(edits))), key=len)]


def _describe(chain: list[IndexRow], tell: Callable[[str], str]) -> IndexRow:
    first = chain[0]
    return {
        "group_id": first["group"][0],
        "images": [tell(first["source"]), *(tell(edit["target"]) for edit in chain)],
        "instructions": [edit["instruction"] for edit in chain],
        "captions": [first["captions"][0], *(edit["captions"][1] for edit in chain)],
        "edits": [edit["key"] for edit in chain],
    }


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for row in read_jsonl(root / _INDEX):
        images = row["images"]
        turns = zip(images, images[1:], row["instructions"], row["edits"], strict=False)
        for source, target, instruction, key in turns:
            yield FoundEdit(source, target, instruction, key)


MULTI_TURN = FolderFormat(
    "multi-turn",
    paths=lambda edit: (_path(edit.source), _path(edit.target)),
    index_row=_index_row,
    write_index=_write_index,
    read_index=_read_index,
)
