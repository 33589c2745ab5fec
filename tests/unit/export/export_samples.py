"""Small datasets to export: real rows and images, in several partitions and kinds of variation."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from coupled_core.config import ExportSettings
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.images import ImageFormat, encode_image
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.export.exporter import ExportReport, export_snapshot, select_edits
from coupled_core.export.format import find_format
from coupled_core.storage.store import ObjectStore
from tests.sample_shards import describe_run, make_rows, with_images

PARTITIONS = ("train", "train", "val", "train", "test")
KINDS = ("entity_swap", "pose", "entity_swap", "position", "pose")
EVIL = 'Replace "the owl" with <script>alert(1)</script>\n| é, {"a": 1} .. /etc/passwd'
"""An instruction that breaks out of careless quoting."""
FILE_FORMATS = (
    "diffusers-instruct-pix2pix-folder",
    "ai-toolkit",
    "musubi-tuner",
    "musubi-framepack",
    "diffsynth",
    "simpletuner",
    "diffusion-pipe",
    "flf2v",
    "onetrainer",
)
EDIT_FORMATS = (
    *FILE_FORMATS,
    "multi-turn",
    "diffusers-instruct-pix2pix",
    "diffusers-kontext",
    "webdataset",
    "huggingface",
)


def commit_pairs(
    store: ObjectStore,
    num_shards: int = 2,
    *,
    image_format: ImageFormat = "png",
    instruction: str | None = None,
    without: Sequence[tuple[int, str]] = (),
    sizes_px: Sequence[tuple[int, int]] | None = None,
) -> Snapshot:
    """Commit shards of five kept and two other pairs, over all partitions and two variations.

    Args:
        store: The dataset.
        num_shards: How many.
        image_format: Of the stored images.
        instruction: The same forward in all pairs; None: one each.
        without: Index in its shard, and column, of instructions that are null.
        sizes_px: (width, height) of the images of each shard; None: 16 x 16.
    """
    shards = []
    for shard_index in range(num_shards):
        made = make_rows("run", shard_index, num_kept=5, num_dropped=1)
        for index, (row, image_row) in enumerate(zip(made.rows[:5], made.image_rows, strict=True)):
            row["partition"], row["variation_kind"] = PARTITIONS[index], KINDS[index]
            row["edit_instruction"] = instruction or f"Turn {shard_index}.{index} forward."
            row["inverse_instruction"] = f"Turn {shard_index}.{index} back."
            for column in (column for number, column in without if number == index):
                row[column] = None
            width, height = sizes_px[shard_index] if sizes_px else (16, 16)
            row["width"], row["height"] = width, height
            for name in ("image_0", "image_1") if image_format == "webp" or sizes_px else ():
                pixels = np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)
                image = encode_image(pixels if name == "image_0" else 255 - pixels, image_format)
                path = f"{row['pair_id']}_{name}.{image_format}"
                image_row[name] = {"bytes": image.data, "path": path}
                row[f"{name}_sha256"], row[f"{name}_bytes"] = image.sha256, len(image.data)
        shards.append(
            upload_shard(
                store,
                with_images(made.rows, made.image_rows),
                run_id="run",
                shard_index=shard_index,
            )
        )
    snapshot = commit_shards(store, shards, describe_run("run"))
    assert snapshot is not None
    return snapshot


def export(
    store: ObjectStore, snapshot: Snapshot, name: str, root: Path, **options: object
) -> ExportReport:
    """Export with the format's defaults; flf2v with swaps, so that all formats hold the same."""
    export_format = find_format(name)
    settings = ExportSettings.model_validate({"include_entity_swap": True, **options})
    selection = select_edits(export_format, settings)
    return export_snapshot(store, snapshot, export_format, selection, root)


def tree(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def read_lines(path: Path) -> list[dict[str, object]]:
    """Return the rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def train_instructions(shards: Sequence[int] = (0, 1)) -> Iterator[tuple[str, str]]:
    """Yield (key, instruction) of every train edit of `commit_pairs`."""
    for shard in shards:
        for index, partition in enumerate(PARTITIONS):
            if partition == "train":
                pair_id = f"{shard:016x}{index:016x}"
                yield f"{pair_id}-forward", f"Turn {shard}.{index} forward."
                yield f"{pair_id}-backward", f"Turn {shard}.{index} back."
