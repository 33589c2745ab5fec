"""Parts in the store: immutable, named by their content, verified after the upload."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from coupled_core.dataset.funnel import Funnel, count_rows
from coupled_core.dataset.part_files import (
    PartFile,
    PartKind,
    write_image_files,
    write_manifest_file,
)
from coupled_core.errors import DatasetError, NotFoundError, StorageError
from coupled_core.storage.checksum import sha256_of
from coupled_core.storage.store import ObjectStore


class PartInfo(BaseModel):
    """One immutable Parquet object of a dataset."""

    model_config = ConfigDict(frozen=True)

    key: str
    """`<kind>/part-<shard>-<first 8 digits of sha256>.parquet`."""
    kind: PartKind
    num_rows: int
    size_bytes: int
    sha256: str
    etag: str
    """The store's tag when `sha256` was last compared; while it stays, so does the content."""
    shard_index: int
    run_id: str


class PublishedShard(BaseModel):
    """What a finished shard hands to the commit; stands in its `done.json`."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    shard_index: int
    parts: tuple[PartInfo, ...]
    """The manifest part, then the image parts."""
    funnel: Funnel


def publish_shard(
    store: ObjectStore,
    rows: Iterable[Mapping[str, Any]],
    image_rows: Iterable[Mapping[str, Any]],
    *,
    run_id: str,
    shard_index: int,
) -> PublishedShard:
    """Write and upload the parts of a shard; no reader sees them before a commit.

    Args:
        store: The dataset.
        rows: Complete manifest rows, kept and dropped; where their images stand is filled in here.
        image_rows: Rows of `rows.image_row` of the kept pairs, streamed.
        run_id: The run.
        shard_index: The shard.

    Raises:
        DatasetError: kept rows and image rows are not the same pairs.
    """
    with tempfile.TemporaryDirectory(prefix="coupled-parts-") as folder:
        files, places = write_image_files(image_rows, Path(folder))
        keys = [part_key(file, shard_index) for file in files]
        placed = [
            {**row, "image_part": None, "image_row": None}
            | (
                {"image_part": keys[place.file_index], "image_row": place.row}
                if (place := places.get(row["pair_id"]))
                else {}
            )
            for row in rows
        ]
        _check_same_pairs(placed, places.keys(), shard_index)
        if placed:
            files.insert(0, write_manifest_file(placed, Path(folder) / "manifest.parquet"))
        parts = tuple(_upload(store, file, run_id, shard_index) for file in files)
    return PublishedShard(
        run_id=run_id, shard_index=shard_index, parts=parts, funnel=count_rows(placed).check()
    )


def part_key(file: PartFile, shard_index: int) -> str:
    """Return the key that a part file gets in the dataset."""
    return f"{file.kind}/part-{shard_index:05d}-{file.sha256[:8]}.parquet"


def verify_part(store: ObjectStore, part: PartInfo, *, rehash: bool = False) -> None:
    """Check that a part is there and unharmed: size and etag, or the content if the etag differs.

    Args:
        store: The dataset.
        part: What is expected.
        rehash: Read the content in any case.

    Raises:
        DatasetError: it is missing, or not what it was.
    """
    where = f"part {store.uri}/{part.key}"
    try:
        info = store.stat(part.key)
    except NotFoundError as error:
        raise DatasetError(
            f"{where} is missing; restore it, or have its shard made again"
        ) from error
    if info.size_bytes != part.size_bytes:
        raise DatasetError(f"{where} has {info.size_bytes} bytes, expected {part.size_bytes}")
    if not rehash and info.etag == part.etag:
        return
    found = sha256_of(store, part.key)
    if found != part.sha256:
        raise DatasetError(f"{where} is damaged: SHA-256 {found}, expected {part.sha256}")


def _upload(store: ObjectStore, file: PartFile, run_id: str, shard_index: int) -> PartInfo:
    key = part_key(file, shard_index)
    info = store.stat(key) if store.exists(key) else store.upload_file(key, file.path)
    is_hash = info.etag == file.sha256  # on a local folder; else reading back is worth its price
    found = file.sha256 if is_hash else sha256_of(store, key)
    if found != file.sha256:
        raise StorageError(
            f"{store.uri}/{key} holds {info.size_bytes} bytes with SHA-256 {found}, expected "
            f"{file.size_bytes} with {file.sha256}: check the store, delete the object, run again"
        )
    return PartInfo(
        key=key,
        kind=file.kind,
        num_rows=file.num_rows,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        etag=info.etag or file.sha256,
        shard_index=shard_index,
        run_id=run_id,
    )


def _check_same_pairs(
    rows: list[dict[str, Any]], with_images: Iterable[str], shard_index: int
) -> None:
    kept = {row["pair_id"] for row in rows if row["kept"]}
    if odd := kept.symmetric_difference(with_images):
        raise DatasetError(
            f"shard {shard_index}: {len(odd)} pairs are either kept without images or have images "
            f"without being kept, such as {min(odd)}"
        )
    if len({row["pair_id"] for row in rows}) != len(rows):
        raise DatasetError(f"shard {shard_index} has a pair_id twice among {len(rows)} rows")
