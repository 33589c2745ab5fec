"""DiffSynth-Studio: JSONL with paths relative to `--dataset_base_path`.

Source: modelscope/DiffSynth-Studio, docs/en/API_Reference/core/data.md and
examples/flux/model_training/lora/FLUX.1-Kontext-dev.sh: FLUX.1 Kontext reads the source from
`kontext_images`, Qwen-Image-Edit and FLUX.2 from `edit_image`; name yours in `--data_file_keys
"image,kontext_images" --extra_inputs kontext_images`.
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

_INDEX = "metadata.jsonl"


def _index_row(edit: DirectedEdit) -> IndexRow:
    source, target = shared_paths(edit)
    return {
        "image": target,
        "prompt": edit.instruction,
        "kontext_images": source,
        "edit_image": source,
    }


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for row in read_jsonl(root / _INDEX):
        for source in dict.fromkeys((row["kontext_images"], row["edit_image"])):
            yield FoundEdit(source, row["image"], row["prompt"])


DIFFSYNTH = FolderFormat(
    "diffsynth",
    paths=shared_paths,
    index_row=_index_row,
    write_index=lambda folder, plan: (
        write_jsonl(folder, plan, _INDEX, ("image", "kontext_images", "edit_image")),
    ),
    read_index=_read_index,
)
