"""A dataset as notebooks and trainers see it: rows, files and pairs of one snapshot."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from coupled_core.dataset.columns import BACKGROUND_FIELDS, IMAGE_FIELDS, MANIFEST_SCHEMA
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.reader import find_snapshot, iter_manifest, iter_stored_images
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConfigError
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

_PICTURES = {*IMAGE_FIELDS, *BACKGROUND_FIELDS}


@dataclass(frozen=True)
class StoredPair:
    """A kept pair with its images; they are decoded when their pixels are first asked for."""

    row: dict[str, Any]
    """All columns of the manifest."""
    image_0: Image.Image
    """RGB."""
    image_1: Image.Image
    mask_0: Image.Image
    """8-bit grey, 255 on the entity of image 0."""
    mask_1: Image.Image
    background: Image.Image | None = None
    """RGB, what both images share; None here and below unless built with `--store-background`."""
    region_0: Image.Image | None = None
    """8-bit grey; where it is 0, image 0 is the background, to the last bit."""
    region_1: Image.Image | None = None


class Dataset:
    """One snapshot of a dataset. Whatever is committed later, it stays as it is."""

    def __init__(self, store: ObjectStore, snapshot: Snapshot) -> None:
        self.uri = store.uri
        self.snapshot = snapshot
        self._store = store

    def __len__(self) -> int:
        """Return the number of kept pairs."""
        return self.snapshot.funnel.pairs_kept

    def __iter__(self) -> Iterator[StoredPair]:
        """Yield the kept pairs, shard by shard; a few images are in memory at a time.

        Raises:
            DatasetError: a part is missing or damaged, or does not go with the manifest.
        """
        for part in self.snapshot.parts_of("manifest"):
            # Rows of one part at a time; their images come by place, in bounded memory.
            rows = self._read([part], None, kept_only=True).to_pylist()
            for row, found in iter_stored_images(self._store, rows):
                pictures = {name: _open(found[name]["bytes"]) for name in _PICTURES & found.keys()}
                yield StoredPair(row, **pictures)

    def manifest(self, columns: Sequence[str] | None = None, *, kept_only: bool = True) -> pa.Table:
        """Return rows of the manifest, one a pair.

        Args:
            columns: Which, in this order; None: all.
            kept_only: False: dropped, failed and quarantined ones, too.

        Raises:
            ConfigError: there is no such column.
        """
        if unknown := [name for name in columns or () if name not in MANIFEST_SCHEMA.names]:
            raise ConfigError(
                f"the manifest has no column {unknown[0]!r}: expected some of "
                f"{', '.join(MANIFEST_SCHEMA.names)}"
            )
        return self._read(self.snapshot.parts, columns, kept_only=kept_only)

    def files(self) -> dict[str, list[str]]:
        """Return where the Parquet parts lie, paths or s3:// locations, by kind.

        The kinds are "manifest", "images", and "dropped" where images of dropped pairs are stored.
        """
        found: dict[str, list[str]] = {"manifest": [], "images": []}
        for part in self.snapshot.parts:
            found.setdefault(part.kind, []).append(f"{self.uri}/{part.key}")
        return found

    def _read(
        self, parts: Sequence[PartInfo], columns: Sequence[str] | None, *, kept_only: bool
    ) -> pa.Table:
        names = list(columns if columns is not None else MANIFEST_SCHEMA.names)
        # "kept" is read for the filter, and left out again if nobody asked for it.
        read = list(dict.fromkeys([*names, "kept"]))
        schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in read])
        batches = iter_manifest(self._store, parts, read)
        wanted = (batch.filter(batch["kept"]) if kept_only else batch for batch in batches)
        return pa.Table.from_batches(wanted, schema).select(names)


def open_dataset(uri: str | Path, snapshot: str = "current") -> Dataset:
    """Open a dataset for reading.

    Args:
        uri: A folder, or s3://BUCKET/PREFIX.
        snapshot: "current", "parent", "previous", or the beginning of an id.

    Raises:
        ConfigError: the name means no snapshot, or several.
        DatasetError: there is no dataset, or it is damaged.
    """
    store = open_store(os.fspath(uri))
    return Dataset(store, find_snapshot(store, snapshot))


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
