"""ai-toolkit: a folder of targets with captions of the same stem, a folder of sources.

Source: ostris/ai-toolkit, config/examples/train_lora_flux_kontext_24gb.yaml: `folder_path` holds
the targets and `.txt` captions, `control_path` the sources. A target whose stem has no source is
skipped without a word, so stems are what the check goes by.
"""

from collections.abc import Iterator
from pathlib import Path

from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import FolderFormat, FoundEdit, stem_paths
from coupled_core.export.plan import ExportPlan

_CONFIG = "dataset.yaml"


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    side = max(plan.facts.common_size_px)
    text = (
        "# For `datasets` in a training config; run the trainer in this folder, or make the paths\n"
        "# absolute.\n"
        "datasets:\n"
        "  - folder_path: targets\n"
        "    control_path: sources\n"
        "    caption_ext: txt\n"
        f"    resolution: [{side}]\n"
    )
    return (folder.write(_CONFIG, text.encode()),)


def _read_index(root: Path) -> Iterator[FoundEdit]:
    for target in (root / "targets").iterdir():
        if target.suffix == ".png":
            caption = target.with_suffix(".txt").read_text(encoding="utf-8")
            yield FoundEdit(f"sources/{target.name}", f"targets/{target.name}", caption)


AI_TOOLKIT = FolderFormat(
    "ai-toolkit",
    paths=stem_paths,
    index_row=lambda edit: {"key": edit.key},
    write_index=_write_index,
    read_index=_read_index,
    caption_path=lambda edit: f"targets/{edit.key}.txt",
)
