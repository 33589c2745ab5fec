"""Compact sets of ids, 16 bytes each, so that ten million fit in 160 MB."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_ID_BYTES = 16
_ID = np.dtype(f"S{_ID_BYTES}")
_MAX_RECENT = 8192
"""Ids that are added before the whole is sorted again: sorting takes longer than adding one."""
_MAX_UNSORTED = 1_000_000
"""As many as that are some 140 MB in a dict."""


class IdSet:
    """A set of hashes of 32 hex digits: a sorted array, and a short list of what was added last."""

    def __init__(
        self,
        batches: Iterable[Sequence[str]] = (),
        packed: Iterable[NDArray[np.bytes_]] = (),
    ) -> None:
        """Take ids of 32 hex digits in batches, such as one a file, or arrays of their bytes."""
        arrays = [*map(_pack, batches), *packed]
        self._sorted = np.concatenate(arrays) if arrays else np.empty(0, _ID)
        self._sorted.sort()
        self._recent: list[bytes] = []

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, hex_id: str) -> bool:
        id_ = bytes.fromhex(hex_id)
        place = bisect_left(self._recent, id_)
        is_recent = place < len(self._recent) and self._recent[place] == id_
        place = int(self._sorted.searchsorted(id_))
        return is_recent or self._sorted[place : place + 1].tobytes() == id_

    def contains(self, ids: Sequence[str] | NDArray[np.bytes_]) -> NDArray[np.bool_]:
        """Say for each of the ids, in hex digits or in bytes, whether it is in the set."""
        self._merge()
        wanted = ids if isinstance(ids, np.ndarray) else _pack(ids)
        places = np.searchsorted(self._sorted, wanted)
        found = places < len(self._sorted)
        # Behind the last id there is nothing to compare with, so only places inside are looked at.
        found[found] = self._sorted[places[found]] == wanted[found]
        return found

    def add(self, id_: bytes) -> None:
        """Add an id of 16 bytes that is not in the set yet."""
        insort(self._recent, id_)
        if len(self._recent) > _MAX_RECENT:
            self._merge()

    def _merge(self) -> None:
        if self._recent:
            # A stable sort merges two sorted arrays in one pass.
            self._sorted = np.concatenate([self._sorted, np.array(self._recent, _ID)])
            self._sorted.sort(kind="stable")
            self._recent = []


class FirstPlaces:
    """Remembers where each id came first: a hash of 8 bytes and 8 bytes of a place.

    Of a million different ids two share their hash with a chance of 3 in 100 million.
    """

    def __init__(self) -> None:
        self._hashes, self._places = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._recent: dict[int, int] = {}
        """Not sorted in yet."""

    def find_or_add(self, hashes: Sequence[int], places: Sequence[int]) -> list[int | None]:
        """Return for each hash the place where it came before; None: it is new, and remembered.

        Args:
            hashes: Below 2**64.
            places: All different, below 2**64.
        """
        wanted = np.array(hashes, np.uint64)
        at = self._hashes.searchsorted(wanted)
        is_old = at < len(self._hashes)
        is_old[is_old] = self._hashes[at[is_old]] == wanted[is_old]
        found: list[int | None] = []
        for index, (hash_, place) in enumerate(zip(hashes, places, strict=True)):
            if is_old[index]:
                found.append(int(self._places[at[index]]))
            else:
                first = self._recent.setdefault(hash_, place)
                found.append(None if first == place else first)
        if len(self._recent) > min(max(_MAX_RECENT, len(self._hashes) // 8), _MAX_UNSORTED):
            self._merge()
        return found

    def _merge(self) -> None:
        added = len(self._recent)
        hashes = np.fromiter(self._recent, np.uint64, added)
        places = np.fromiter(self._recent.values(), np.uint64, added)
        self._hashes = np.concatenate([self._hashes, hashes])
        order = self._hashes.argsort(kind="stable")
        self._hashes = self._hashes[order]
        self._places = np.concatenate([self._places, places])[order]
        self._recent = {}


def _pack(hex_ids: Sequence[str]) -> NDArray[np.bytes_]:
    return np.frombuffer(bytes.fromhex("".join(hex_ids)), _ID)
