"""OneTrainer: one folder of targets, each with its instruction and its source beside it.

Source: Nerogar/OneTrainer, training tab, "Custom Conditioning Image": the source of `STEM.png` is
`STEM-condlabel.png`, and its prompt, "from single text file per sample", is `STEM.txt`. Name the
folder as the path of a concept.
"""

from collections.abc import Iterator
from pathlib import Path

from coupled_core.export.edits import DirectedEdit
from coupled_core.export.folder_format import CONDITIONING_SUFFIX, FolderFormat, FoundEdit

_FOLDER = "concept"


def _paths(edit: DirectedEdit) -> tuple[str, str]:
    stem = f"{_FOLDER}/{edit.key}"
    return f"{stem}{CONDITIONING_SUFFIX}.png", f"{stem}.png"


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for target in (root / _FOLDER).glob("*.png"):
        if not target.stem.endswith(CONDITIONING_SUFFIX):
            yield FoundEdit(
                f"{_FOLDER}/{target.stem}{CONDITIONING_SUFFIX}.png",
                f"{_FOLDER}/{target.name}",
                target.with_suffix(".txt").read_text(encoding="utf-8"),
            )


ONETRAINER = FolderFormat(
    "onetrainer",
    paths=_paths,
    index_row=lambda edit: {"key": edit.key},
    write_index=lambda folder, plan: (),
    read_index=_read_index,
    caption_path=lambda edit: f"{_FOLDER}/{edit.key}.txt",
    told_paths="relative",
)
