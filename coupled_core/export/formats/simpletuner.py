"""SimpleTuner: two backends whose files have the same names, captions and sizes in Parquet.

Source: bghira/SimpleTuner, documentation/DATALOADER.md ("Parquet caption strategy",
"conditioning_data") and documentation/quickstart/FLUX_KONTEXT.md. For data on S3, sync the folder
and set `type: aws` with `aws_bucket_name` and `aws_data_prefix`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import FolderFormat, FoundEdit, IndexRow, stem_paths
from coupled_core.export.parquet_files import write_parquet_index
from coupled_core.export.plan import ExportPlan

_INDEX, _CONFIG = "metadata.parquet", "multidatabackend.json"


def _index_row(edit: DirectedEdit) -> IndexRow:
    width, height = edit.size_px
    return {
        "filename": f"{edit.key}.png",
        "caption": edit.instruction,
        "width": width,
        "height": height,
    }


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    config = json.dumps(_backends(max(plan.facts.common_size_px)), indent=2) + "\n"
    return write_parquet_index(folder, plan, _INDEX), folder.write(_CONFIG, config.encode())


def _backends(resolution: int) -> list[dict[str, object]]:
    shared: dict[str, object] = {
        "type": "local",
        "caption_strategy": "parquet",
        "metadata_backend": "parquet",
        "parquet": {
            "path": _INDEX,
            "filename_column": "filename",
            "caption_column": "caption",
            "width_column": "width",
            "height_column": "height",
            "identifier_includes_extension": True,
        },
        "resolution": resolution,
        "resolution_type": "pixel",
        "crop": False,
    }
    targets = {
        "id": "coupled-targets",
        "dataset_type": "image",
        "instance_data_dir": "targets",
        "conditioning_data": "coupled-sources",
        "cache_dir_vae": "cache/vae/targets",
    }
    sources = {
        "id": "coupled-sources",
        "dataset_type": "conditioning",
        "instance_data_dir": "sources",
        "conditioning_type": "reference_strict",
        "source_dataset_id": "coupled-targets",
        "cache_dir_vae": "cache/vae/sources",
    }
    texts = {
        "id": "coupled-texts",
        "dataset_type": "text_embeds",
        "default": True,
        "type": "local",
        "cache_dir": "cache/text",
    }
    return [targets | shared, sources | shared, texts]


def _read_index(root: Path) -> Iterator[FoundEdit]:
    with pq.ParquetFile(root / _INDEX) as file:
        for batch in file.iter_batches(4096):
            for row in batch.to_pylist():
                name = row["filename"]
                yield FoundEdit(f"sources/{name}", f"targets/{name}", row["caption"])


SIMPLETUNER = FolderFormat("simpletuner", stem_paths, _index_row, _write_index, _read_index)
