"""ai-toolkit: a folder of targets with captions of the same stem, a folder of sources.

Source: ostris/ai-toolkit, config/examples/train_lora_flux_kontext_24gb.yaml: `folder_path` holds
the targets and `.txt` captions, `control_path` the sources. A target whose stem has no source is
skipped without a word, so stems are what the check goes by.
"""

from collections.abc import Iterator
from pathlib import Path

from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import (
    FolderFormat,
    FoundEdit,
    locate,
    quote_path,
    stem_paths,
)
from coupled_core.export.plan import ExportPlan

_CONFIG = "dataset.yaml"


def _write_index(folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
    side = max(plan.facts.largest_size_px)
    targets, sources = (quote_path(locate(folder, plan, name)) for name in ("targets", "sources"))
    text = (
        "# For `datasets` in a training config; run the trainer in this folder, or export with\n"
        "# --absolute-paths.\n"
        "datasets:\n"
        f"  - folder_path: {targets}\n"
        f"    control_path: {sources}\n"
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
