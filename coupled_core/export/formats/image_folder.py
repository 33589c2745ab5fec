"""diffusers train_instruct_pix2pix with `--train_data_dir FOLDER/train`: an ImageFolder.

Source: Hugging Face `datasets`, "ImageFolder": columns of `metadata.parquet` that end in
`_file_name` name images relative to it, and come out as columns without that ending.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import FolderFormat, FoundEdit, IndexRow, shared_paths
from coupled_core.export.parquet_files import write_parquet_index
from coupled_core.export.plan import ExportPlan

_FOLDER = "train"  # what the trainer reads, whichever partition is in it
_INDEX = f"{_FOLDER}/metadata.parquet"


def _paths(edit: DirectedEdit) -> tuple[str, str]:
    source, target = shared_paths(edit)
    return f"{_FOLDER}/{source}", f"{_FOLDER}/{target}"


def _index_row(edit: DirectedEdit) -> IndexRow:
    source, target = shared_paths(edit)
    return {
        "input_image_file_name": source,
        "edited_image_file_name": target,
        "edit_prompt": edit.instruction,
    }


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    return (write_parquet_index(folder, plan, _INDEX),)


def _read_index(root: Path) -> Iterator[FoundEdit]:
    with pq.ParquetFile(root / _INDEX) as file:
        for batch in file.iter_batches(4096):
            for row in batch.to_pylist():
                source, target = row["input_image_file_name"], row["edited_image_file_name"]
                yield FoundEdit(f"{_FOLDER}/{source}", f"{_FOLDER}/{target}", row["edit_prompt"])


IMAGE_FOLDER = FolderFormat(
    "diffusers-instruct-pix2pix-folder",
    _paths,
    _index_row,
    _write_index,
    _read_index,
    told_paths="relative",  # ImageFolder takes names relative to its metadata only
)
