"""diffusion-pipe: a folder a size, each with targets, `captions.json` and sources of equal stems.

Source: tdrussell/diffusion-pipe, examples/flux_kontext_dataset.toml, examples/cosmos_dataset.toml
and utils/dataset.py: `captions.json` stands beside the targets and maps file names to lists of
captions; a target without a source of its stem is an error. Aspect-ratio buckets round every size
to multiples of 32 and crop what is left over, and one resolution scales all sizes to its area. A
directory with a size bucket of its own does neither.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    IndexRow,
    locate,
    quote_path,
    write_lines,
)
from coupled_core.export.plan import ExportPlan

_CAPTIONS, _CONFIG = "captions.json", "dataset.toml"


def _size_folder(width: int, height: int) -> str:
    return f"{width}x{height}"


def _paths(edit: DirectedEdit) -> tuple[str, str]:
    folder = _size_folder(*edit.size_px)
    return f"{folder}/sources/{edit.key}.png", f"{folder}/targets/{edit.key}.png"


def _index_row(edit: DirectedEdit) -> IndexRow:
    folder = _size_folder(*edit.size_px)
    return {"folder": folder, "name": f"{edit.key}.png", "caption": edit.instruction}


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    files = []
    config = ["# Run the trainer in this folder, or export with --absolute-paths."]
    for width, height in sorted(plan.facts.pairs_by_size):
        name = _size_folder(width, height)
        # The index is read once a size: there are few sizes, and it need not be in memory.
        rows = folder.iter_index(plan.num_pairs_by_unit)
        entries = _json_object(row for row in rows if row["folder"] == name)
        files.append(write_lines(folder, f"{name}/targets/{_CAPTIONS}", entries))
        config += [
            "",
            "[[directory]]",
            f"path = {quote_path(locate(folder, plan, f'{name}/targets'))}",
            f"control_path = {quote_path(locate(folder, plan, f'{name}/sources'))}",
            f"size_buckets = [[{width}, {height}, 1]]",
            "num_repeats = 1",
        ]
    return (*files, write_lines(folder, _CONFIG, config))


def _json_object(rows: Iterable[IndexRow]) -> Iterator[str]:
    """Write one JSON object with an entry a line, so that no reader of ours needs all of it."""
    opening = "{"
    for row in rows:
        yield f"{opening}{json.dumps(row['name'])}: {json.dumps([row['caption']])}"
        opening = ","
    yield "}"


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for directory in tomllib.loads((root / _CONFIG).read_text(encoding="utf-8"))["directory"]:
        targets, sources = directory["path"], directory["control_path"]
        with (root / targets / _CAPTIONS).open(encoding="utf-8") as lines:
            for line in lines:
                # Each line is an entry between commas and braces, as `_json_object` writes them.
                entry = line.strip().lstrip("{,").rstrip("}")
                for name, captions in json.loads(f"{{{entry}}}").items():
                    yield FoundEdit(f"{sources}/{name}", f"{targets}/{name}", captions[0])


DIFFUSION_PIPE = FolderFormat("diffusion-pipe", _paths, _index_row, _write_index, _read_index)
