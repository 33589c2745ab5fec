"""The images of chosen pairs: from image parts, or from the work of their shard if it is left."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from coupled_core.dataset.columns import IMAGE_FIELDS
from coupled_core.dataset.reader import iter_stored_images
from coupled_core.dataset.rows import Row
from coupled_core.dataset.work import GENERATED, SCORED, WorkFolder, list_work
from coupled_core.records import RejectReason
from coupled_core.storage.store import ObjectStore

_IMAGES = f"{GENERATED}/"


@dataclass(frozen=True)
class PairImages:
    """The images and entity masks of a pair, encoded."""

    pair_id: str
    image_0: bytes
    image_1: bytes
    mask_0: bytes
    mask_1: bytes

    @classmethod
    def from_row(cls, row: Row) -> "PairImages":
        """Take a row of an image part."""
        return cls(row["pair_id"], *(row[name]["bytes"] for name in IMAGE_FIELDS))


class ShardWorks:
    """Which shards have work left; one listing a run, made when it is first asked for."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._shards: dict[str, set[int]] = {}

    def has(self, run_id: str, shard_index: int) -> bool:
        """Say whether generated images of a shard are still there."""
        if run_id not in self._shards:
            left = list_work(self._store, run_id)
            self._shards[run_id] = {shard for shard, name in left if name.startswith(_IMAGES)}
        return shard_index in self._shards[run_id]


def iter_pair_images(
    store: ObjectStore, rows: Sequence[Row], works: ShardWorks
) -> Iterator[PairImages]:
    """Yield the images of manifest rows that have any, a row group in memory at a time.

    Args:
        rows: Manifest rows, all columns, in any order.
        works: The work that is left.

    Raises:
        DatasetError: stored images are not those that the manifest describes.
    """
    # Stored images first: they are read by row group, in the order of the parts.
    stored = (row for row in rows if row["image_part"] is not None)
    for _, found in iter_stored_images(store, stored, IMAGE_FIELDS):
        yield PairImages.from_row(found)
    by_shard: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row["image_part"] is None and has_images(row, works):
            by_shard[row["run_id"], row["shard_index"]].append(row)
    for (run_id, shard_index), inside in by_shard.items():
        yield from _from_work(WorkFolder(store, run_id, shard_index), inside)


def has_images(row: Row, works: ShardWorks) -> bool:
    """Say whether a pair has images that a page may hold: stored ones, or in work that is left.

    Images that were found unsafe are in the work, too, but no page shows them.
    """
    if row["image_part"] is not None:
        return True
    may_be_shown = row["image_0_sha256"] and RejectReason.UNSAFE not in row["reject_reasons"]
    return bool(may_be_shown) and works.has(row["run_id"], row["shard_index"])


def _from_work(folder: WorkFolder, rows: Sequence[Row]) -> Iterator[PairImages]:
    """Find pairs in the stored batches of their shard by the hashes of their images."""
    for batch in folder.batches(GENERATED):
        generated, scored = folder.read_table(GENERATED, batch), folder.read_table(SCORED, batch)
        # Not scored yet.
        if generated is None or scored is None:
            continue
        masks = {s["key"]: s["masks"] for s in scored.to_pylist() if s["masks"] is not None}
        for sample in generated.to_pylist():
            if sample["key"] in masks:
                yield from _match(sample["images"], masks[sample["key"]], rows)


def _match(
    images: Sequence[Row],
    masks: Sequence[Row],
    rows: Iterable[Row],
) -> Iterator[PairImages]:
    # By hash and not by key: the row has no key of its sample, and equal hashes are the same image.
    hashes = dict(enumerate(image["sha256"] for image in images))
    for row in rows:
        i, j = row["image_index_0"], row["image_index_1"]
        if (hashes.get(i), hashes.get(j)) == (row["image_0_sha256"], row["image_1_sha256"]):
            yield PairImages(
                row["pair_id"],
                images[i]["data"],
                images[j]["data"],
                masks[i]["mask"],
                masks[j]["mask"],
            )
