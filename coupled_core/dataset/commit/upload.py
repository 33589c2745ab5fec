"""The first step of a commit: parts in the store, verified there, that no reader sees yet."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from coupled_core.dataset.funnel import Funnel, count_rows
from coupled_core.dataset.parts import (
    PartFile,
    PartInfo,
    temporary_folder,
    write_image_files,
    write_manifest_file,
)
from coupled_core.dataset.rows import Row
from coupled_core.errors import DatasetError, NotFoundError, StorageError
from coupled_core.storage.checksum import sha256_of
from coupled_core.storage.store import ObjectInfo, ObjectStore

_REUSABLE_FOR = timedelta(hours=1)
"""Well below the least grace period of `gc.py`: what is reused must not be garbage to it."""


class UploadedShard(BaseModel):
    """What a finished shard hands to the commit; stands in its `done.json`."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    shard_index: int
    parts: tuple[PartInfo, ...]
    """The manifest part, then the image parts."""
    funnel: Funnel


def upload_shard(
    store: ObjectStore,
    rows: Iterable[Mapping[str, Any]],
    image_rows: Iterable[Mapping[str, Any]],
    *,
    run_id: str,
    shard_index: int,
    dropped_rows: Iterable[Mapping[str, Any]] = (),
) -> UploadedShard:
    """Write and upload the parts of a shard; no reader sees them before a commit.

    Args:
        rows: Complete manifest rows, kept and dropped; where their images stand is filled in here.
        image_rows: Rows of `rows.image_row` of the kept pairs, streamed.
        dropped_rows: Rows of `rows.image_row` of dropped pairs whose images are to be stored.

    Raises:
        DatasetError: kept rows and image rows are not the same pairs.
        StorageError: an upload failed, or the temporary folder is full.
    """
    with temporary_folder() as folder:
        # Images first: a part's name follows from its content, and manifest rows state it.
        files, kept = write_image_files(image_rows, folder, shard_index)
        dropped_files, dropped = write_image_files(
            dropped_rows, folder, shard_index, kind="dropped"
        )
        places = {**dropped, **kept}
        placed: list[Row] = []
        for row in rows:
            part, place = places.get(row["pair_id"], (None, None))
            placed.append({**row, "image_part": part, "image_row": place})
        _check_same_pairs(placed, kept.keys(), dropped.keys(), shard_index)
        files += dropped_files
        if placed:
            files.insert(0, write_manifest_file(placed, folder, shard_index))
        parts = tuple(upload_part(store, file, run_id) for file in files)
    funnel = count_rows(placed).check()
    return UploadedShard(run_id=run_id, shard_index=shard_index, parts=parts, funnel=funnel)


def upload_part(store: ObjectStore, file: PartFile, run_id: str) -> PartInfo:
    """Put a part file into the store, unless a twin just did, and check what arrived.

    Raises:
        StorageError: the upload failed, or the store holds something else.
    """
    info = _find_fresh(store, file.key) or store.upload_file(file.key, file.path)
    is_hash = info.etag == file.sha256  # on a local folder; else reading back is worth its price
    found = file.sha256 if is_hash else sha256_of(store, file.key)
    if found != file.sha256:
        raise StorageError(
            f"{store.uri}/{file.key} holds {info.size_bytes} bytes with SHA-256 {found}, expected "
            f"{file.size_bytes} with {file.sha256}: check the store, delete the object, run again"
        )
    facts = file.model_dump(exclude={"path"})
    return PartInfo(**facts, etag=info.etag or file.sha256, run_id=run_id)


def verify_part(store: ObjectStore, part: PartInfo) -> None:
    """Check that a part is there and unharmed: size and etag, or the content if the etag differs.

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
    if info.etag == part.etag:
        return
    found = sha256_of(store, part.key)
    if found != part.sha256:
        raise DatasetError(f"{where} is damaged: SHA-256 {found}, expected {part.sha256}")


def _find_fresh(store: ObjectStore, key: str) -> ObjectInfo | None:
    """Return an object that is there and recent; an old one may be about to be collected."""
    info = store.stat(key) if store.exists(key) else None
    # Parts are named by their content, so a twin's upload will do if it is sure to stay.
    if info is None or info.modified_at is None:
        return None
    return info if datetime.now(UTC) - info.modified_at < _REUSABLE_FOR else None


def _check_same_pairs(
    rows: list[Row], with_images: Iterable[str], with_dropped: Iterable[str], shard_index: int
) -> None:
    kept = {row["pair_id"] for row in rows if row["kept"]}
    if odd := kept.symmetric_difference(with_images):
        raise DatasetError(
            f"shard {shard_index}: {len(odd)} pairs are either kept without images or have images "
            f"without being kept, such as {min(odd)}"
        )
    if odd := kept.intersection(with_dropped):
        raise DatasetError(
            f"shard {shard_index}: {len(odd)} pairs are kept, but their images came as those of "
            f"dropped ones, such as {min(odd)}"
        )
    if len({row["pair_id"] for row in rows}) != len(rows):
        raise DatasetError(f"shard {shard_index} has a pair_id twice among {len(rows)} rows")
