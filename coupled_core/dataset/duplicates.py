"""Near-duplicate pairs: what pairs look like, which of them stays, and how they are found.

Looks are small enough that a million of them fit in 200 MB.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
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
        # lexsort sorts by its last key first.
        return self.take(np.lexsort((self.pair_ids, -_scores(self.combined))))

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


def _scores(combined: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the combined metric; where there is none, less than any."""
    # neginf is named because the default would make it the least finite number.
    return np.nan_to_num(combined, nan=-np.inf, neginf=-np.inf)


def looks_of_rows(rows: Iterable[Mapping[str, Any]]) -> PairLooks:
    """Return the looks of manifest rows; those without codes, of early versions, are left out."""
    chosen = [row for row in rows if all(row[name] is not None for name in LOOKS_COLUMNS[3:])]

    def read_digits(what: str, kind: str) -> NDArray[Any]:
        """Read a column of hex digits, image 0 before image 1 of each row, in one call."""
        digits = [row[f"image_{number}_{what}"] for row in chosen for number in (0, 1)]
        return np.frombuffer(bytes.fromhex("".join(digits)), kind)

    return PairLooks(
        np.array([row["pair_id"] for row in chosen], "S32"),
        # None becomes NaN.
        np.array([row["combined"] for row in chosen], np.float64),
        # Hex digits are big-endian; the bytes are turned into the machine's order.
        read_digits("phash", ">u8").astype(np.uint64).reshape(-1, 2),
        read_digits("clip_code", "i1").reshape(-1, 2, _CODE_LENGTH),
    )


_Indices = NDArray[np.int64]
_Edges = tuple[_Indices, _Indices]
_HASH_BITS = 64
_MAX_KEY_BITS = 10
"""Bits of a chunk that go into a key: all of them by default."""
_MAX_CANDIDATES = 1 << 17
"""Pairs of pairs that are compared at a time: 200 MB where all of them have near hashes."""


def find_duplicates(
    settled: Iterable[PairLooks], new: PairLooks, config: DuplicatesConfig
) -> dict[str, str]:
    """Return the pairs of `new` that duplicate another, by pair_id, and which one they duplicate.

    Settled pairs stay, and of new ones that duplicate each other the better: pairs are gone through
    by falling combined metric (equal ones by pair_id), and each that duplicates one that stays
    goes. So the outcome does not depend on the order in which pairs come.

    Args:
        settled: Pairs that stay, whatever they duplicate; one block is in memory at a time.
        new: Pairs with other ids.
    """
    if not len(new):
        return {}
    # Equal looks are looked up once, by the best of them.
    ordered = new.best_first()
    same_as = _first_equal(ordered)
    distinct = np.flatnonzero(same_as == np.arange(len(ordered)))
    pairs = ordered.take(distinct)
    # Settled pairs win over all new ones, whatever their scores.
    keepers = _SettledSearch(pairs, config).find(settled)
    better, worse = _find_edges(pairs, config)
    # By the worse pair, then by the better: each pair is decided after all better ones, and goes
    # because of the best that stays.
    by_pair = np.lexsort((better, worse))
    for one, other in zip(better[by_pair].tolist(), worse[by_pair].tolist(), strict=True):
        # A pair that goes takes nothing along: what is near it alone may stay.
        if one not in keepers and other not in keepers:
            keepers[other] = pairs.pair_ids[one]
    found = {}
    for index, place in enumerate(np.searchsorted(distinct, same_as).tolist()):
        # Further pairs of equal looks go with the first, and name what it duplicates or else
        # itself.
        first = None if distinct[place] == index else pairs.pair_ids[place]
        if (keeper := keepers.get(place, first)) is not None:
            found[ordered.pair_ids[index].decode()] = keeper.decode()
    return found


def _first_equal(pairs: PairLooks) -> _Indices:
    """Return for each pair the first one that looks exactly the same; itself where there is none.

    Only first ones are compared: a thousand equal pairs would be half a million comparisons.
    """
    # (N, 2 hashes + 16 words of codes): rows of 64-bit numbers sort faster than rows of bytes.
    looks = np.column_stack([pairs.phashes, pairs.codes.reshape(len(pairs), 128).view(np.uint64)])
    _, first, group = np.unique(looks, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64)[group.reshape(-1)]


class _SettledSearch:
    """Finds the settled pair that each of some new ones duplicates, block by block."""

    def __init__(self, pairs: PairLooks, config: DuplicatesConfig) -> None:
        self._pairs, self._config = pairs, config
        self._best: dict[int, tuple[bool, float, bytes]] = {}
        """By place: differs in looks, minus the combined metric, pair_id. The least counts."""

    def find(self, settled: Iterable[PairLooks]) -> dict[int, bytes]:
        """Return the settled pairs that stay in the place of new ones, by the latter's place."""
        tables: list[_KeyTable] | None = None
        for block in settled:
            # The fewer are the table. All tables of the new pairs are kept from block to block, so
            # memory grows with them alone, and no further than with as many pairs as a block has.
            if len(block) < len(self._pairs):
                self._look_up_in(block)
                continue
            tables = tables or list(_key_tables(self._pairs, self._config))
            for table, asked in zip(tables, _keys(block, self._config), strict=True):
                for places, queries in table.matches(asked):
                    self._compare(block, places, queries)
        return {query: keeper for query, (_, _, keeper) in self._best.items()}

    def _look_up_in(self, block: PairLooks) -> None:
        """Compare with a block of fewer pairs: one table at a time, made of these."""
        if not len(block):
            return
        asked_of_each = _keys(self._pairs, self._config)
        for table, asked in zip(_key_tables(block, self._config), asked_of_each, strict=True):
            for queries, places in table.matches(asked):
                self._compare(block, places, queries)

    def _compare(self, block: PairLooks, places: _Indices, queries: _Indices) -> None:
        near = _are_near(block, places, self._pairs, queries, self._config)
        # Equal looks count even where codes are empty, and before looks that are only near.
        same = (block.phashes[places] == self._pairs.phashes[queries]).all(axis=1)
        codes = block.codes[places[same]] == self._pairs.codes[queries[same]]
        same[same] = codes.all(axis=(1, 2))
        chosen = near | same
        places, queries = places[chosen], queries[chosen]
        ranks = zip(
            (~same[chosen]).tolist(),
            (-_scores(block.combined[places])).tolist(),
            block.pair_ids[places].tolist(),
            strict=True,
        )
        for query, rank in zip(queries.tolist(), ranks, strict=True):
            # Tuples compare from the left. The last entry is the id, so that ties do not depend on
            # the order of the blocks.
            self._best[query] = min(rank, self._best.get(query, rank))


@dataclass(frozen=True)
class _KeyTable:
    """Which of some pairs have a key."""

    has_pair: NDArray[np.bool_]
    """By key."""
    keys: NDArray[np.uint32]
    """Ascending."""
    counts: _Indices
    """How many are equal, from the first of equal ones on."""
    pairs: _Indices
    """Whose they are."""

    def matches(self, asked: NDArray[np.uint32]) -> Iterator[_Edges]:
        """Yield (asking, found) where the keys are equal, some at a time."""
        # A look into a table of bits spares the binary search for nearly all that ask.
        asking = np.flatnonzero(self.has_pair[asked])
        first = np.searchsorted(self.keys, asked[asking])
        for repeated, places in _spread(first, self.counts[first]):
            yield asking[repeated], self.pairs[places]


def _key_tables(pairs: PairLooks, config: DuplicatesConfig) -> Iterator[_KeyTable]:
    """Yield the pairs by each of their keys, also with their images swapped."""
    # Pairs count as near in either order of their images.
    swapped = replace(pairs, phashes=pairs.phashes[:, ::-1])
    for straight, other in zip(_keys(pairs, config), _keys(swapped, config), strict=True):
        keys = np.concatenate([straight, other])
        has_pair = np.zeros(1 << 2 * _key_bits(config), bool)
        has_pair[keys] = True
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        counts = np.searchsorted(keys, keys, side="right") - np.arange(len(keys))
        # The second half are the same pairs with their images swapped, hence the remainder.
        yield _KeyTable(has_pair, keys, counts, order % len(pairs))


def _keys(pairs: PairLooks, config: DuplicatesConfig) -> Iterator[NDArray[np.uint32]]:
    """Yield a key of each pair for each two chunks of its images; near pairs share one of them."""
    chunks = _chunks(pairs.phashes, config.max_phash_distance)
    bits = _key_bits(config)
    # (2 images, chunks, N); chunks that are longer than a key lose their upper bits, which only
    # makes more candidates.
    parts = (chunks & np.uint64((1 << bits) - 1)).astype(np.uint32).transpose(1, 2, 0).copy()
    for first, second in product(parts[0], parts[1]):
        yield first << np.uint32(bits) | second


def _key_bits(config: DuplicatesConfig) -> int:
    return min(_MAX_KEY_BITS, -(-_HASH_BITS // (config.max_phash_distance + 1)))


def _find_edges(pairs: PairLooks, config: DuplicatesConfig) -> _Edges:
    """Return the near pairs (better, worse) of some that are sorted, each once."""
    num_pairs = len(pairs)
    found = [np.empty(0, np.int64)]
    for better, worse in _iter_candidates(pairs, config):
        near = _are_near(pairs, better, pairs, worse, config)
        # Near pairs agree in several chunks and come up again and again; as one number they are
        # made unique by a sort.
        found.append(np.unique(better[near] * num_pairs + worse[near]))
    edges = np.unique(np.concatenate(found))
    return edges // num_pairs, edges % num_pairs


def _iter_candidates(pairs: PairLooks, config: DuplicatesConfig) -> Iterator[_Edges]:
    """Yield (better, worse) with equal chunks, block by block."""
    chunks = _chunks(pairs.phashes, config.max_phash_distance)
    for i, j in product(range(chunks.shape[2]), repeat=2):
        # One chunk of each image: of image 0 the i-th and of image 1 the j-th. Near pairs agree in
        # at least one such combination.
        keys = _join(chunks[:, 0, i], chunks[:, 1, j])
        order = np.argsort(keys, kind="stable")
        # The second with the images swapped.
        for asked in (keys, _join(chunks[:, 1, i], chunks[:, 0, j])):
            first = np.searchsorted(keys[order], asked, side="left")
            counts = np.searchsorted(keys[order], asked, side="right") - first
            for worse, places in _spread(first, counts):
                better = order[places]
                is_before = better < worse
                # Indices are ranks, so the smaller is the better; each pair of pairs comes once.
                yield better[is_before], worse[is_before]


def _spread(first: _Indices, counts: _Indices) -> Iterator[_Edges]:
    """Yield (index, place) for the places from `first` on of each index, some at a time."""
    at = 0
    while at < len(first):
        ends = np.cumsum(counts[at:])
        # So many indices as their places together fit in the bound, one at least.
        size = max(1, int(np.searchsorted(ends, _MAX_CANDIDATES, side="right")))
        number, start = counts[at : at + size], first[at : at + size]
        indices = np.repeat(np.arange(at, at + len(number)), number)
        # A running number over all places, less where each index began, plus its first place.
        starts = np.repeat(start - (np.cumsum(number) - number), number)
        yield indices, starts + np.arange(len(indices))
        at += size


def _are_near(
    these: PairLooks, one: _Indices, those: PairLooks, other: _Indices, config: DuplicatesConfig
) -> NDArray[np.bool_]:
    """Say of pairs of these and of those whether both images are near, in either order."""
    near = np.zeros(len(one), bool)
    for swap in ((0, 1), (1, 0)):
        # Hashes first, since few pairs pass them and codes take longer to compare.
        gap = np.bitwise_count(these.phashes[one] ^ those.phashes[other][:, swap])
        alike = np.flatnonzero((gap <= config.max_phash_distance).all(axis=1) & ~near)
        a, b = these.codes[one[alike]], those.codes[other[alike]][:, swap]
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
