"""Near-duplicate pairs: what pairs look like, which of them stays, and how they are found.

Looks are small enough that a million of them fit in 200 MB.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from coupled_core.config import DuplicatesConfig

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
        return PairLooks(*(column[indices] for column in vars(self).values()))

    def best_first(self) -> "PairLooks":
        """Return the pairs by falling combined metric; among equals the smaller pair_id first."""
        score = np.nan_to_num(self.combined, nan=-np.inf, neginf=-np.inf)
        return self.take(np.lexsort((self.pair_ids, -score)))

    @staticmethod
    def concatenate(blocks: Iterable["PairLooks"]) -> "PairLooks":
        """Return all pairs of some blocks."""
        none = PairLooks(
            np.empty(0, "S32"),
            np.empty(0, np.float64),
            np.empty((0, 2), np.uint64),
            np.empty((0, 2, _CODE_LENGTH), np.int8),
        )
        columns = zip(*(vars(block).values() for block in (none, *blocks)), strict=True)
        return PairLooks(*map(np.concatenate, columns))


def read_looks(
    batches: Iterable[pa.RecordBatch],
    select: Callable[[pa.RecordBatch], pa.Array] = itemgetter("kept"),
) -> PairLooks:
    """Return the looks of some pairs; those without codes, of early versions, are left out.

    Args:
        batches: Batches of the manifest with `LOOKS_COLUMNS`.
        select: Returns which rows of a batch count; by default those of kept pairs.
    """
    return PairLooks.concatenate(_parse_looks(batch, select(batch)) for batch in batches)


def _parse_looks(batch: pa.RecordBatch, wanted: pa.Array) -> PairLooks:
    for name in LOOKS_COLUMNS[3:]:
        wanted = pc.and_(wanted, pc.is_valid(batch[name]))
    chosen = batch.filter(wanted)
    return PairLooks(
        np.array(chosen["pair_id"].to_pylist(), "S32"),
        chosen["combined"].to_numpy(zero_copy_only=False).astype(np.float64),
        _both(chosen, "phash", ">u8").astype(np.uint64).reshape(-1, 2),
        _both(chosen, "clip_code", "i1").reshape(-1, 2, _CODE_LENGTH),
    )


def _both(batch: pa.RecordBatch, what: str, kind: str) -> NDArray[Any]:
    """Return a column of hex digits of both images, image 0 before image 1 of each row."""
    columns = [batch.column(f"image_{number}_{what}").to_pylist() for number in (0, 1)]
    digits: Sequence[str] = [text for pair in zip(*columns, strict=True) for text in pair]
    return np.frombuffer(bytes.fromhex("".join(digits)), kind)


_Indices = NDArray[np.int64]
_Edges = tuple[_Indices, _Indices]
_HASH_BITS = 64
_MAX_CANDIDATES = 1 << 17
"""Pairs of pairs that are compared at a time: 200 MB where all of them have near hashes."""


def find_duplicates(settled: PairLooks, new: PairLooks, config: DuplicatesConfig) -> dict[str, str]:
    """Return the pairs of `new` that duplicate another, by pair_id, and which one they duplicate.

    Settled pairs stay, and of new ones that duplicate each other the better: pairs are gone through
    by falling combined metric (equal ones by pair_id), and each that duplicates one that stays
    goes. So the outcome does not depend on the order in which pairs come.

    Args:
        settled: Pairs that stay, whatever they duplicate.
        new: Pairs with other ids.
    """
    if not len(new):
        return {}
    ordered = PairLooks.concatenate([settled.best_first(), new.best_first()])
    first_new, same_as = len(settled), _first_equal(ordered)
    better, worse = _find_edges(ordered, first_new, same_as, config)
    # The keeper of each pair; itself where it stays.
    keeper = same_as.copy()
    keeper[:first_new] = np.arange(first_new)
    by_pair = np.lexsort((better, worse))
    for one, other in zip(better[by_pair].tolist(), worse[by_pair].tolist(), strict=True):
        if keeper[other] == other and keeper[one] == one:
            keeper[other] = one
    keeper[first_new:] = keeper[same_as[first_new:]]
    return {
        ordered.pair_ids[index].decode(): ordered.pair_ids[keeper[index]].decode()
        for index in range(first_new, len(ordered))
        if keeper[index] != index
    }


def _first_equal(pairs: PairLooks) -> _Indices:
    """Return for each pair the first one that looks exactly the same; itself where there is none.

    Only first ones are compared: a thousand equal pairs would be half a million comparisons.
    """
    looks = np.column_stack([pairs.phashes, pairs.codes.reshape(len(pairs), 128).view(np.uint64)])
    _, first, group = np.unique(looks, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64)[group.reshape(-1)]


def _find_edges(
    pairs: PairLooks, first_new: int, same_as: _Indices, config: DuplicatesConfig
) -> _Edges:
    """Return the near pairs (better, worse) of which the worse one is new, each once."""
    num_pairs = len(pairs)
    distinct = np.flatnonzero(same_as == np.arange(num_pairs))
    found = [np.empty(0, np.int64)]
    for targets, queries in _iter_candidates(pairs, distinct, first_new, config):
        near = _are_near(pairs, targets, queries, config)
        found.append(np.unique(targets[near] * num_pairs + queries[near]))
    edges = np.unique(np.concatenate(found))
    return edges // max(num_pairs, 1), edges % max(num_pairs, 1)


def _iter_candidates(
    pairs: PairLooks, distinct: _Indices, first_new: int, config: DuplicatesConfig
) -> Iterator[_Edges]:
    """Yield (better, worse) with equal chunks, block by block."""
    chunks = _chunks(pairs.phashes[distinct], config.max_phash_distance)
    num_chunks = chunks.shape[2]
    is_query = distinct >= first_new
    for i in range(num_chunks):
        for j in range(num_chunks):
            keys = _join(chunks[:, 0, i], chunks[:, 1, j])
            order = np.argsort(keys, kind="stable")
            for swapped in (False, True):
                asked = _join(chunks[:, 1, i], chunks[:, 0, j]) if swapped else keys
                for targets, queries in _matches(keys[order], order, asked, is_query):
                    yield distinct[targets], distinct[queries]


def _matches(
    sorted_keys: NDArray[np.uint64],
    order: _Indices,
    asked: NDArray[np.uint64],
    is_query: NDArray[np.bool_],
) -> Iterator[_Edges]:
    """Yield (target, query) of equal keys whose target comes first, some at a time."""
    queries = np.flatnonzero(is_query)
    first = np.searchsorted(sorted_keys, asked[queries], side="left")
    counts = np.searchsorted(sorted_keys, asked[queries], side="right") - first
    at = 0
    while at < len(queries):
        ends = np.cumsum(counts[at:])
        size = max(1, int(np.searchsorted(ends, _MAX_CANDIDATES, side="right")))
        block = slice(at, at + size)
        repeated = np.repeat(queries[block], counts[block])
        starts = np.repeat(first[block] - (np.cumsum(counts[block]) - counts[block]), counts[block])
        targets = order[starts + np.arange(len(repeated))]
        is_before = targets < repeated
        yield targets[is_before], repeated[is_before]
        at += size


def _are_near(
    pairs: PairLooks, one: _Indices, other: _Indices, config: DuplicatesConfig
) -> NDArray[np.bool_]:
    """Say of each two pairs whether both images are near, in either order."""
    near = np.zeros(len(one), bool)
    for swap in ((0, 1), (1, 0)):
        # Hashes first, since few pairs pass them and codes take longer to compare.
        gap = np.bitwise_count(pairs.phashes[one] ^ pairs.phashes[other][:, swap])
        alike = np.flatnonzero((gap <= config.max_phash_distance).all(axis=1) & ~near)
        a, b = pairs.codes[one[alike]], pairs.codes[other[alike]][:, swap]
        near[alike] = (cosines(a, b) >= config.min_clip_similarity).all(axis=1)
    return near


def cosines(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the cosine of codes (..., 64); 0 where one is all zero."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    norms = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    return np.asarray((x * y).sum(axis=-1) / np.where(norms > 0, norms, 1), np.float32)


def _chunks(hashes: NDArray[np.uint64], max_distance: int) -> NDArray[np.uint64]:
    """Cut hashes (N, 2) into max_distance + 1 pieces of nearly equal length, (N, 2, pieces)."""
    # Two hashes that differ in fewer bits than there are pieces agree in at least one piece.
    ends = np.linspace(0, _HASH_BITS, max_distance + 2).round().astype(np.uint64)
    pieces = [
        (hashes >> start) & np.uint64((1 << int(end - start)) - 1) for start, end in pairwise(ends)
    ]
    return np.stack(pieces, axis=2)


def _join(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one number for two chunks; equal for equal ones only, if chunks have 32 bits."""
    return (a << np.uint64(32)) | (b & np.uint64(0xFFFFFFFF))
