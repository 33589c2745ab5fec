"""musubi-tuner: JSONL of target, control image and caption, and a TOML that points to it.

Source: kohya-ss/musubi-tuner, docs/dataset_config.md, "Sample for Image Dataset with Control
Images" and "FramePack One Frame Training". Relative paths hold in the folder that the trainer is
started in.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    IndexRow,
    locate,
    quote_path,
    read_jsonl,
    shared_paths,
    write_jsonl,
    write_lines,
)
from coupled_core.export.plan import ExportPlan

_INDEX, _CONFIG = "metadata.jsonl", "dataset.toml"
_ONE_FRAME = (
    "# One-frame training: the source is frame 0, the target the last of a latent window of 9.",
    "fp_1f_clean_indices = [0]",
    "fp_1f_target_index = 9",
    "fp_1f_no_post = false",
)


def _index_row(edit: DirectedEdit) -> IndexRow:
    source, target = shared_paths(edit)
    return {"image_path": target, "control_path": source, "caption": edit.instruction}


def _index_writer(*more: str) -> Callable[[ExportFolder, ExportPlan], tuple[FileInfo, ...]]:
    def write(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
        width, height = plan.facts.largest_size_px
        config = (
            "# Run the trainer in this folder, or export with --absolute-paths.",
            "[general]",
            f"resolution = [{width}, {height}]",
            "batch_size = 1",
            "enable_bucket = true",
            "bucket_no_upscale = true",
            "",
            "[[datasets]]",
            f"image_jsonl_file = {quote_path(locate(folder, plan, _INDEX))}",
            f"cache_directory = {quote_path(locate(folder, plan, 'cache'))}",
            "num_repeats = 1",
            *more,
        )
        index = write_jsonl(folder, plan, _INDEX, ("image_path", "control_path"))
        return index, write_lines(folder, _CONFIG, config)

    return write


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for row in read_jsonl(root / _INDEX):
        yield FoundEdit(row["control_path"], row["image_path"], row["caption"])


MUSUBI_TUNER = FolderFormat("musubi-tuner", shared_paths, _index_row, _index_writer(), _read_index)
MUSUBI_FRAMEPACK = FolderFormat(
    "musubi-framepack", shared_paths, _index_row, _index_writer(*_ONE_FRAME), _read_index
)
