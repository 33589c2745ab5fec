"""A compact set of ids, 16 bytes each, so that ten million fit in 160 MB."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_ID_BYTES = 16
_ID = np.dtype(f"S{_ID_BYTES}")
_MAX_RECENT = 8192
"""Ids that are added before the whole is sorted again: sorting takes longer than adding one."""


class IdSet:
    """A set of hashes of 32 hex digits: one sorted array, and a short list of what was added last.

    A hash in it may carry 8 bytes of something else behind its own first 8: `find` returns both.
    """

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
        return self.find(bytes.fromhex(hex_id)) is not None

    def contains(self, ids: Sequence[str] | NDArray[np.bytes_]) -> NDArray[np.bool_]:
        """Say for each of the ids, in hex digits or in bytes, whether it is in the set."""
        self._merge()
        wanted = ids if isinstance(ids, np.ndarray) else _pack(ids)
        places = np.searchsorted(self._sorted, wanted)
        found = places < len(self._sorted)
        # Behind the last id there is nothing to compare with, so only places inside are looked at.
        found[found] = self._sorted[places[found]] == wanted[found]
        return found

    def find(self, beginning: bytes) -> bytes | None:
        """Return the first id that begins so; None: there is none."""
        place = bisect_left(self._recent, beginning)
        if place < len(self._recent) and self._recent[place].startswith(beginning):
            return self._recent[place]
        place = int(self._sorted.searchsorted(beginning))
        if place < len(self._sorted):
            # numpy leaves out the zeros at the end of a string.
            found = bytes(self._sorted[place]).ljust(_ID_BYTES, b"\0")
            return found if found.startswith(beginning) else None
        return None

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


def _pack(hex_ids: Sequence[str]) -> NDArray[np.bytes_]:
    return np.frombuffer(bytes.fromhex("".join(hex_ids)), _ID)
