"""What pairs look like, small enough that a million of them fit in 200 MB."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LOOKS_COLUMNS = (
    "pair_id",
    "kept",
    "combined",
    "image_0_phash",
    "image_1_phash",
    "image_0_clip_code",
    "image_1_clip_code",
)
"""The manifest columns that looks are read from."""
_CODE_LENGTH = 64


@dataclass(frozen=True)
class PairLooks:
    """What N pairs look like, in 184 bytes each."""

    pair_ids: NDArray[np.bytes_]
    """(N,), 32 hex digits."""
    combined: NDArray[np.float64]
    """(N,); the combined metric."""
    phashes: NDArray[np.uint64]
    """(N, 2): of image 0 and of image 1."""
    codes: NDArray[np.int8]
    """(N, 2, 64): CLIP codes."""

    def __len__(self) -> int:
        return len(self.pair_ids)

    def take(self, indices: NDArray[Any]) -> "PairLooks":
        """Return some of the pairs, in the order of the indices (or where a mask is true)."""
        return PairLooks(
            self.pair_ids[indices],
            self.combined[indices],
            self.phashes[indices],
            self.codes[indices],
        )

    def best_first(self) -> "PairLooks":
        """Return the pairs by falling combined metric; among equals the smaller pair_id first."""
        score = np.nan_to_num(self.combined, nan=-np.inf, neginf=-np.inf)
        return self.take(np.lexsort((self.pair_ids, -score)))

    @classmethod
    def concatenate(cls, blocks: Iterable["PairLooks"]) -> Self:
        """Return all pairs of some blocks."""
        empty = PairLooks(
            np.empty(0, "S32"),
            np.empty(0, np.float64),
            np.empty((0, 2), np.uint64),
            np.empty((0, 2, _CODE_LENGTH), np.int8),
        )
        found = [empty, *blocks]
        return cls(
            np.concatenate([block.pair_ids for block in found]),
            np.concatenate([block.combined for block in found]),
            np.concatenate([block.phashes for block in found]),
            np.concatenate([block.codes for block in found]),
        )


def _are_kept(batch: pa.RecordBatch) -> pa.Array:
    return batch.column("kept")


def read_looks(
    batches: Iterable[pa.RecordBatch], select: Callable[[pa.RecordBatch], pa.Array] = _are_kept
) -> PairLooks:
    """Return the looks of some pairs; those without codes, of early versions, are left out.

    Args:
        batches: Of the manifest, with `LOOKS_COLUMNS`.
        select: Returns which rows of a batch count.
    """
    return PairLooks.concatenate(_iter_looks(batches, select))


def _iter_looks(
    batches: Iterable[pa.RecordBatch], select: Callable[[pa.RecordBatch], pa.Array]
) -> Iterator[PairLooks]:
    for batch in batches:
        known = (pc.is_valid(batch.column(name)) for name in LOOKS_COLUMNS[3:])
        wanted = select(batch)
        for each in known:
            wanted = pc.and_(wanted, each)
        chosen = batch.filter(wanted)
        if chosen.num_rows:
            yield PairLooks(
                np.array(chosen.column("pair_id").to_pylist(), "S32"),
                chosen.column("combined").to_numpy(zero_copy_only=False).astype(np.float64),
                _both(chosen, "phash", ">u8").astype(np.uint64).reshape(-1, 2),
                _both(chosen, "clip_code", "i1").reshape(-1, 2, _CODE_LENGTH),
            )


def _both(batch: pa.RecordBatch, what: str, kind: str) -> NDArray[Any]:
    """Return a column of hex digits of both images, image 0 before image 1 of each row."""
    columns = [batch.column(f"image_{number}_{what}").to_pylist() for number in (0, 1)]
    digits: Sequence[str] = [text for pair in zip(*columns, strict=True) for text in pair]
    return np.frombuffer(bytes.fromhex("".join(digits)), kind)
