"""diffusion-pipe: targets with `captions.json`, sources with the same stems, a dataset TOML.

Source: tdrussell/diffusion-pipe, examples/flux_kontext_dataset.toml and utils/dataset.py:
`captions.json` stands beside the targets and maps file names to lists of captions; a target
without a source of its stem is an error.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    IndexRow,
    stem_paths,
    write_lines,
)
from coupled_core.export.plan import ExportPlan

_CAPTIONS, _CONFIG = "targets/captions.json", "dataset.toml"


def _index_row(edit: DirectedEdit) -> IndexRow:
    return {"name": f"{edit.key}.png", "caption": edit.instruction}


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    width, height = plan.facts.common_size_px
    ratios = [size[0] / size[1] for size in plan.facts.pairs_by_size]
    config = (
        "# Run the trainer in this folder, or make the paths absolute.",
        f"resolutions = [[{width}, {height}]]",
        "enable_ar_bucket = true",
        f"min_ar = {min(0.5, *ratios):.4f}",
        f"max_ar = {max(2.0, *ratios):.4f}",
        "num_ar_buckets = 9",
        "num_repeats = 1",
        "",
        "[[directory]]",
        'path = "targets"',
        'control_path = "sources"',
    )
    rows = folder.iter_index(plan.num_pairs_by_unit)
    captions = write_lines(folder, _CAPTIONS, _json_object(rows))
    return captions, write_lines(folder, _CONFIG, config)


def _json_object(rows: Iterable[IndexRow]) -> Iterator[str]:
    """Write one JSON object with an entry a line, so that no reader of ours needs all of it."""
    opening = "{"
    for row in rows:
        name = json.dumps(row["name"])
        yield f"{opening}{name}: {json.dumps([row['caption']], ensure_ascii=False)}"
        opening = ","
    yield "}"


def _read_index(root: Path) -> Iterator[FoundEdit]:
    with (root / _CAPTIONS).open(encoding="utf-8") as lines:
        for line in lines:
            entry = line.strip().lstrip("{,").rstrip("}")
            for name, captions in json.loads(f"{{{entry}}}").items():
                yield FoundEdit(f"sources/{name}", f"targets/{name}", captions[0])


DIFFUSION_PIPE = FolderFormat("diffusion-pipe", stem_paths, _index_row, _write_index, _read_index)
