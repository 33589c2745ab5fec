"""The first step of a commit: parts in the store, verified there, that no reader sees yet."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter

from pydantic import BaseModel, ConfigDict

from coupled_core.dataset.funnel import Funnel, count_rows
from coupled_core.dataset.parts import (
    ImageFiles,
    PartFile,
    PartInfo,
    temporary_folder,
    write_manifest_file,
)
from coupled_core.dataset.reader import iter_manifest, iter_rows, iter_stored_images
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import IndexInfo
from coupled_core.dataset.work import DONE, WorkFolder
from coupled_core.errors import DatasetError, NotFoundError, StorageError
from coupled_core.storage.checksum import sha256_of
from coupled_core.storage.store import ObjectInfo, ObjectStore

_REUSABLE_FOR = timedelta(hours=1)
"""Well below the least grace period of `gc.py`: what is reused must not be garbage to it.

Clocks may differ by half of what lies between, and S3 refuses those that differ by a quarter."""


class UploadedShard(BaseModel):
    """What a finished shard hands to the commit; stands in its `done.json`."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    shard_index: int
    parts: tuple[PartInfo, ...]
    """The manifest part, then the image parts."""
    funnel: Funnel


def read_uploaded(work: WorkFolder) -> UploadedShard | None:
    """Return what a finished shard left for the commit; None: it is not finished.

    Raises:
        StorageError: it is damaged.
    """
    done = work.read_done()
    if done is None:
        return None
    with work.named_damage(DONE):
        return UploadedShard.model_validate(done)


def upload_shard(
    store: ObjectStore, pairs: Iterable[tuple[Row, Row | None]], *, run_id: str, shard_index: int
) -> UploadedShard:
    """Write and upload the parts of a shard; no reader sees them before a commit.

    Args:
        pairs: Complete manifest rows, kept and dropped, each with the row of its images if they
            are to be stored. They are taken once, one after the other. Where images stand is
            filled in here.

    Raises:
        DatasetError: a kept pair has no images, or a pair comes twice.
        StorageError: an upload failed, or the temporary folder is full.
    """
    rows: list[Row] = []
    settle = partial(settle_name, store)
    with temporary_folder() as folder:
        # Images of dropped pairs in parts of their own: readers of images/ see kept pairs only.
        kept = ImageFiles(folder, shard_index, settle=settle)
        dropped = ImageFiles(folder, shard_index, kind="dropped", settle=settle)
        for row, images in pairs:
            rows.append(row)
            if images is not None:
                (kept if row["kept"] else dropped).add(images)
        # Images first: a part's name follows from its content, and manifest rows state it.
        files = [*kept.finish(), *dropped.finish()]
        places = kept.places | dropped.places
        nowhere = (None, None)
        placed = [
            {**row, "image_part": part, "image_row": place}
            for row in rows
            for part, place in [places.get(row["pair_id"], nowhere)]
        ]
        _check_pairs(placed, shard_index)
        if placed:
            files.insert(0, settle(write_manifest_file(placed, folder, shard_index)))
        parts = tuple(upload_part(store, file, run_id) for file in files)
    funnel = count_rows(placed).check()
    return UploadedShard(run_id=run_id, shard_index=shard_index, parts=parts, funnel=funnel)


def read_shard(store: ObjectStore, shard: UploadedShard) -> Iterator[tuple[Row, Row | None]]:
    """Yield the rows of an uploaded shard with their images, as `upload_shard` took them.

    Raises:
        DatasetError: a part is missing or damaged, or rows and images do not go together.
    """
    rows = list(iter_rows(iter_manifest(store, shard.parts)))
    images = {kind: _images_in_order(store, rows, kind) for kind in ("images", "dropped")}
    for row in rows:
        kind, _, _ = (row["image_part"] or "").partition("/")
        # Both kinds were written in the order of their rows, so two readers that only go forward
        # meet each row's images, and one row group of each is in memory.
        found = next(images[kind]) if kind else None
        assert found is None or found["pair_id"] == row["pair_id"], "images stand in order of rows"
        yield row, found


def _images_in_order(store: ObjectStore, rows: Sequence[Row], kind: str) -> Iterator[Row]:
    """Yield the stored images of a kind in the order of their manifest rows."""
    of_kind = (row for row in rows if (row["image_part"] or "").startswith(f"{kind}/"))
    for _, inside in groupby(of_kind, key=itemgetter("image_part")):
        yield from (found for _, found in iter_stored_images(store, inside))


def settle_name(
    store: ObjectStore, file: PartFile, named: Collection[str] = frozenset()
) -> PartFile:
    """Return a part under a name that no collection of garbage can be about to remove.

    A collection may have found the usual name to be garbage and delete it only now, however often
    it had looked before. So what lies in the store for longer than a twin could have put it there
    is never taken up again: the same content gets another name.

    Args:
        store: Where it shall go.
        file: The part under its usual name.
        named: Keys that the current snapshot names: these cannot be garbage.

    Raises:
        StorageError: all names are old.
    """
    for key in file.possible_keys():
        if key in named or not _is_old(store, key):
            return file.model_copy(update={"key": key})
    raise StorageError(
        f"{store.uri} holds {file.key} under all names that it can have, all of them old: run "
        "`coupled gc --keep-snapshots N` and the same command again"
    )


def upload_part(store: ObjectStore, file: PartFile, run_id: str) -> PartInfo:
    """Put a part file into the store, unless a twin just did, and check what arrived.

    Its name is one that `settle_name` has chosen.

    Raises:
        StorageError: the upload failed, or the store holds something else.
    """
    # Parts are named by their content, so a twin's upload will do.
    there = store.exists(file.key)
    info = store.stat(file.key) if there else store.upload_file(file.key, file.path)
    check_upload(store, info, file)
    facts = file.model_dump(exclude={"path"})
    return PartInfo(**facts, etag=info.etag or file.sha256, run_id=run_id)


def check_upload(store: ObjectStore, info: ObjectInfo, wanted: PartFile | IndexInfo) -> None:
    """Compare what has arrived with what was sent.

    Raises:
        StorageError: the store holds something else.
    """
    is_hash = info.etag == wanted.sha256  # on a local folder; else reading back is worth its price
    found = wanted.sha256 if is_hash else sha256_of(store, wanted.key)
    if found != wanted.sha256:
        raise StorageError(
            f"{store.uri}/{wanted.key} holds {info.size_bytes} bytes with SHA-256 {found}, "
            f"expected {wanted.size_bytes} with {wanted.sha256}: check the store, delete the "
            "object, run again"
        )


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
    # Cheap comparisons first. The etag is not compared alone: a store may give the same content
    # another one, such as when it was copied.
    if info.size_bytes != part.size_bytes:
        raise DatasetError(f"{where} has {info.size_bytes} bytes, expected {part.size_bytes}")
    if info.etag == part.etag:
        return
    found = sha256_of(store, part.key)
    if found != part.sha256:
        raise DatasetError(f"{where} is damaged: SHA-256 {found}, expected {part.sha256}")


def _is_old(store: ObjectStore, key: str) -> bool:
    try:
        modified_at = store.stat(key).modified_at
    except NotFoundError:
        return False
    return modified_at is not None and datetime.now(UTC) - modified_at >= _REUSABLE_FOR


def _check_pairs(rows: list[Row], shard_index: int) -> None:
    bare = [row["pair_id"] for row in rows if row["kept"] and row["image_part"] is None]
    if bare:
        raise DatasetError(
            f"shard {shard_index}: {len(bare)} pairs are kept without images, such as {bare[0]}"
        )
    if len({row["pair_id"] for row in rows}) != len(rows):
        raise DatasetError(f"shard {shard_index} has a pair_id twice among {len(rows)} rows")
