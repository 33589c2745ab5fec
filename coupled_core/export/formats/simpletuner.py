"""SimpleTuner: two backends whose files have the same names, captions and sizes in Parquet.

Source: bghira/SimpleTuner, documentation/DATALOADER.md ("Parquet caption strategy",
"conditioning_data", "resolution_type"), documentation/quickstart/FLUX_KONTEXT.md and
helpers/metadata/backends/parquet.py. It lists files by their whole paths and takes
`instance_data_dir` out of them as text before it looks them up, so a relative folder finds no row:
all paths here are whole, whatever is asked for, and an export that moves is exported again. For
data on S3, sync the folder and set `type: aws` with `aws_bucket_name` and `aws_data_prefix`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    IndexRow,
    locate,
    stem_paths,
)
from coupled_core.export.parquet_files import write_parquet_index
from coupled_core.export.plan import ExportPlan

_INDEX, _CONFIG = "metadata.parquet", "multidatabackend.json"


def _index_row(edit: DirectedEdit) -> IndexRow:
    width, height = edit.size_px
    return {
        "filename": edit.key,
        "caption": edit.instruction,
        "width": width,
        "height": height,
    }


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    config = json.dumps(_backends(folder, plan), indent=2) + "\n"
    return write_parquet_index(folder, plan, _INDEX), folder.write(_CONFIG, config.encode())


def _backends(folder: ExportFolder, plan: ExportPlan) -> list[dict[str, object]]:
    shared: dict[str, object] = {
        "type": "local",
        "caption_strategy": "parquet",
        "metadata_backend": "parquet",
        "parquet": {
            "path": locate(folder, plan, _INDEX),
            "filename_column": "filename",
            "caption_column": "caption",
            "width_column": "width",
            "height_column": "height",
            "identifier_includes_extension": False,
        },
        "resolution": min(plan.facts.largest_size_px),
        "resolution_type": "pixel",  # of the shorter edge
        "crop": False,
    }
    targets = {
        "id": "coupled-targets",
        "dataset_type": "image",
        "instance_data_dir": locate(folder, plan, "targets"),
        "conditioning_data": "coupled-sources",
        "cache_dir_vae": locate(folder, plan, "cache/vae/targets"),
    }
    sources = {
        "id": "coupled-sources",
        "dataset_type": "conditioning",
        "instance_data_dir": locate(folder, plan, "sources"),
        "conditioning_type": "reference_strict",
        "source_dataset_id": "coupled-targets",
        "cache_dir_vae": locate(folder, plan, "cache/vae/sources"),
    }
    texts = {
        "id": "coupled-texts",
        "dataset_type": "text_embeds",
        "default": True,
        "type": "local",
        "cache_dir": locate(folder, plan, "cache/text"),
    }
    return [targets | shared, sources | shared, texts]


def _read_index(root: Path) -> Iterator[FoundEdit]:
    targets, sources, _ = json.loads((root / _CONFIG).read_text(encoding="utf-8"))
    with pq.ParquetFile(targets["parquet"]["path"]) as file:
        for batch in file.iter_batches(4096):
            for row in batch.to_pylist():
                target = f"{targets['instance_data_dir']}/{row['filename']}.png"
                # As text, just as the trainer does it.
                source = target.replace(targets["instance_data_dir"], sources["instance_data_dir"])
                yield FoundEdit(source, target, row["caption"])


SIMPLETUNER = FolderFormat(
    "simpletuner", stem_paths, _index_row, _write_index, _read_index, told_paths="whole"
)
