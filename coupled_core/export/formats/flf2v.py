"""First and last frames for video models: conditioning, distillation, evaluation.

No trainer takes bare pairs of frames: DiffSynth-Studio trains Wan's FLF2V on videos and takes the
frames from their ends (examples/wanvideo/model_training, `--extra_inputs "input_image,end_image"`).
So this is a plain JSONL to render videos from, and the CSV that reads them once they are there.
Swaps of an entity are left out unless asked for: no video leads from a fox to an owl.
"""

import csv
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    IndexRow,
    locate,
    read_jsonl,
    shared_paths,
    write_jsonl,
    write_lines,
)
from coupled_core.export.plan import ExportPlan

_INDEX = "flf2v.jsonl"
_VIDEOS = "metadata.csv"
_VIDEO_COLUMNS = ("video", "prompt", "input_image", "end_image")


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


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    index = write_jsonl(folder, plan, _INDEX, ("first_frame", "last_frame"))
    rows = folder.iter_index(plan.num_pairs_by_unit)
    videos = (
        (
            locate(folder, plan, f"videos/{row['pair_id']}-{row['direction']}.mp4"),
            row["prompt"],
            locate(folder, plan, row["first_frame"]),
            locate(folder, plan, row["last_frame"]),
        )
        for row in rows
    )
    return index, write_lines(folder, _VIDEOS, map(_csv_line, chain([_VIDEO_COLUMNS], videos)))


def _csv_line(fields: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow(fields)
    return line.getvalue()


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for row in read_jsonl(root / _INDEX):
        yield FoundEdit(row["first_frame"], row["last_frame"], row["prompt"])


FLF2V = FolderFormat(
    "flf2v",
    paths=shared_paths,
    index_row=_index_row,
    write_index=_write_index,
    read_index=_read_index,
)
