"""Memory of an export: write a dataset larger than a limit, export it under that limit.

    python -m infra.benchmarks.export_memory --dataset-mb 256 --limit-mb 192 huggingface webdataset

The limit is on address space (RLIMIT_AS) beyond what the interpreter and its libraries map before
the first pair is read; allocators are told not to reserve more than they use. One line of JSON a
format; exit code 1 when one of them ran out of memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coupled_core.config import ExportSettings
from coupled_core.dataset import rows
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.images import EncodedImage, encode_image, encode_mask
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.snapshot import RunInfo
from coupled_core.export.exporter import export_snapshot, select_edits
from coupled_core.export.format import find_format
from coupled_core.storage.local import LocalStore
from coupled_core.storage.open_store import open_store
from infra.benchmarks.arguments import build_parser
from infra.benchmarks.plan_run import peak_resident_bytes

_SIDE_PX = 512
_NUM_IMAGES = 6  # distinct ones; pairs share them, since their encoding takes most of the time
_MB = 1_000_000
_PLAIN_ALLOCATORS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}


def write_dataset(root: Path, num_bytes: int) -> int:
    """Write kept pairs of noise until their images take so many bytes; return what they take."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (_NUM_IMAGES, _SIDE_PX, _SIDE_PX, 3), dtype=np.uint8)
    images = [encode_image(pixels) for pixels in noise]
    num_pairs = -(-num_bytes // (2 * len(images[0].data)))
    store = LocalStore(root)
    shard = upload_shard(
        store,
        ((_row(index, images), _image_row(index, images)) for index in range(num_pairs)),
        run_id="run",
        shard_index=0,
    )
    run = RunInfo(run_id="run", config={}, config_sha256="0", inputs=(), package_version="0")
    commit_shards(store, [shard], run, single_writer=True)
    return sum(part.size_bytes for part in shard.parts)


def export_under_limit(dataset: str, name: str, output: Path, limit_bytes: int) -> dict[str, Any]:
    """Export in this process, which may grow by `limit_bytes` from here on."""
    store = open_store(dataset)
    snapshot = current_snapshot(store)
    assert snapshot is not None
    pa.array(["pyarrow imports pandas at its first array, where there is one"])
    before, resident_before = _mapped_bytes(), peak_resident_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (before + limit_bytes, before + limit_bytes))
    started = time.monotonic()
    export_format = find_format(name)
    selection = select_edits(
        export_format, ExportSettings(include_entity_swap=True, partition="train")
    )
    report = export_snapshot(store, snapshot, export_format, selection, output)
    return {
        "format": name,
        "dataset_mb": sum(part.size_bytes for part in snapshot.parts) / _MB,
        "limit_mb": limit_bytes / _MB,
        "resident_growth_mb": (peak_resident_bytes() - resident_before) / _MB,
        "pairs": report.marker["num_pairs"],
        "edits_checked": report.num_edits_checked,
        "seconds": time.monotonic() - started,
    }


def _row(index: int, images: list[EncodedImage]) -> rows.Row:
    """Return a manifest row with what exports need; the rest is null."""
    first, second = _pick(index, images)
    return rows.complete_row(
        {
            "pair_id": f"{index:032x}",
            "group_id": f"group-{index}",
            "run_id": "run",
            "shard_index": 0,
            "partition": "train",
            "source_file": "noise",
            "source_row": index,
            "prompt_0": "noise",
            "prompt_1": "other noise",
            "edit_instruction": "Replace the noise.",
            "inverse_instruction": "Replace the other noise.",
            "variation_kind": "appearance",
            "width": _SIDE_PX,
            "height": _SIDE_PX,
            "image_0_sha256": first.sha256,
            "image_1_sha256": second.sha256,
            "image_0_bytes": len(first.data),
            "image_1_bytes": len(second.data),
            "torch_version": "none",
            "diffusers_version": "none",
            "package_version": "none",
            "kept": True,
            "reject_reasons": [],
            "status": "ok",
            "ai_generated": True,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "config_sha256": "0",
        }
    )


def _image_row(index: int, images: list[EncodedImage]) -> rows.Row:
    first, second = _pick(index, images)
    mask = encode_mask(np.zeros((_SIDE_PX, _SIDE_PX), bool))
    return rows.image_row(f"{index:032x}", rows.EncodedPair(first, second, mask, mask))


def _pick(index: int, images: list[EncodedImage]) -> tuple[EncodedImage, EncodedImage]:
    return images[index % len(images)], images[(index + 1) % len(images)]


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _arguments() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("formats", nargs="+")
    parser.add_argument("--dataset-mb", type=int, default=256)
    parser.add_argument("--limit-mb", type=int, default=192)
    parser.add_argument("--work", type=Path, help="Folder to write to; default: a temporary one.")
    parser.add_argument("--in-dataset", help=argparse.SUPPRESS)
    return parser.parse_args()


def _children(arguments: argparse.Namespace, work: Path) -> Iterator[bool]:
    """Export each format in a process of its own, which is what the limit is set on."""
    dataset = work / "dataset"
    write_dataset(dataset, arguments.dataset_mb * _MB)
    for name in arguments.formats:
        command = [sys.executable, "-m", "infra.benchmarks.export_memory", name]
        command += ["--limit-mb", str(arguments.limit_mb), "--work", str(work)]
        child = subprocess.run(
            [*command, "--in-dataset", str(dataset)], env={**os.environ, **_PLAIN_ALLOCATORS}
        )
        yield child.returncode == 0


def main() -> None:
    """Run as a program."""
    arguments = _arguments()
    if arguments.in_dataset:
        (name,) = arguments.formats
        limit_bytes = arguments.limit_mb * _MB
        found = export_under_limit(arguments.in_dataset, name, arguments.work / name, limit_bytes)
        print(json.dumps(found), flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="export-memory-", dir=arguments.work) as folder:
        sys.exit(0 if all(list(_children(arguments, Path(folder)))) else 1)


if __name__ == "__main__":
    main()
