"""WebDataset: tar shards whose members share a key without dots.

Source: webdataset's format description: files of one sample follow each other and have one name
up to the first dot. Times and owners are fixed, so equal samples give equal bytes.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from coupled_core.export.edits import DirectedEdit, SeenEdit
from coupled_core.export.folder import ExportFolder, FileInfo, UnitId
from coupled_core.export.format import UnitWriter
from coupled_core.export.plan import ExportPlan
from coupled_core.export.terms import DISCLOSURE

_FACTS = (
    "pair_id", "group_id", "background_prompt", "variation_kind", "width", "height",
    "background_similarity", "alignment", "combined", "seed", "base_model", "license",
    "use_restrictions", "ai_generated",
)  # fmt: skip


class WebDatasetFormat:
    """Shards `<partition>-00000.tar` of about a gigabyte."""

    name = "webdataset"
    keeps_partitions = True
    as_png = True
    writes_edits = True
    max_shard_bytes = 1_000_000_000

    def open_unit(self, unit: UnitId, folder: ExportFolder, plan: ExportPlan) -> UnitWriter:
        """Begin a shard."""
        return _TarShard(f"{unit}.tar", folder)

    def finish(self, folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
        """Add nothing: the shards say it all."""
        return ()

    def read_back(self, root: Path) -> Iterator[SeenEdit]:
        """Yield the samples of all shards, grouped by key as they follow each other."""
        for path in sorted(root.glob("*.tar")):
            with tarfile.open(path) as archive:
                yield from _samples(archive)


class _TarShard:
    def __init__(self, path: str, folder: ExportFolder) -> None:
        self._file = folder.stage(path)
        self._archive = tarfile.TarFile(self._file.path, "w", format=tarfile.USTAR_FORMAT)

    def add(self, edit: DirectedEdit) -> None:
        """Write the three members of a sample."""
        facts = json.dumps(_facts(edit), sort_keys=True)
        self._member(f"{edit.key}.input.png", edit.source.data)
        self._member(f"{edit.key}.output.png", edit.target.data)
        self._member(f"{edit.key}.json", facts.encode())

    def close(self) -> tuple[FileInfo, ...]:
        """Finish the shard."""
        self._archive.close()
        return (self._file.publish(),)

    def abort(self) -> None:
        """Drop the shard."""
        with suppress(OSError):  # a full disk has been reported by now
            self._archive.close()
        self._file.discard()

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644  # time and owner stay 0
        self._archive.addfile(info, io.BytesIO(data))
        _forget_members(self._archive)


def _facts(edit: DirectedEdit) -> dict[str, Any]:
    return {
        "edit_prompt": edit.instruction,
        "input_caption": edit.source_caption,
        "output_caption": edit.target_caption,
        "direction": edit.direction,
        "ai_disclosure": DISCLOSURE,
        **{name: edit.row[name] for name in _FACTS},
    }


def _forget_members(archive: tarfile.TarFile) -> None:
    """Keep memory flat: tarfile remembers every member, some hundred thousand a shard."""
    vars(archive)["members"] = []


def _samples(archive: tarfile.TarFile) -> Iterator[SeenEdit]:
    key, parts = "", dict[str, bytes]()
    for member in archive:
        found, _, suffix = member.name.partition(".")
        if found != key:
            key, parts = found, {}
        content = archive.extractfile(member)
        parts[suffix] = content.read() if content else b""
        _forget_members(archive)
        if parts.keys() == {"input.png", "output.png", "json"}:
            yield SeenEdit(
                key=key,
                source_sha256=hashlib.sha256(parts["input.png"]).hexdigest(),
                target_sha256=hashlib.sha256(parts["output.png"]).hexdigest(),
                instruction=json.loads(parts["json"])["edit_prompt"],
            )


WEBDATASET = WebDatasetFormat()
