"""First and last frames for video models: conditioning, distillation, evaluation.

No trainer takes bare pairs of frames, so this is a plain JSONL. Swaps of an entity are left out
unless asked for: no video leads from a fox to an owl.
"""

from collections.abc import Iterator
from pathlib import Path

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    IndexRow,
    read_jsonl,
    shared_paths,
    write_jsonl,
)

_INDEX = "flf2v.jsonl"


def _index_row(edit: DirectedEdit) -> IndexRow:
    first_frame, last_frame = shared_paths(edit)
    width, height = edit.size_px
    return {
        "pair_id": edit.pair_id,
        "first_frame": first_frame,
        "last_frame": last_frame,
        "prompt": edit.instruction,
        "prompt_first": edit.source_caption,
        "prompt_last": edit.target_caption,
        "width": width,
        "height": height,
        "direction": edit.direction,
        "variation_kind": edit.row["variation_kind"],
    }


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for row in read_jsonl(root / _INDEX):
        yield FoundEdit(row["first_frame"], row["last_frame"], row["prompt"])


FLF2V = FolderFormat(
    "flf2v",
    paths=shared_paths,
    index_row=_index_row,
    write_index=lambda folder, plan: (
        write_jsonl(folder, plan, _INDEX, ("first_frame", "last_frame")),
    ),
    read_index=_read_index,
)
