"""A compact memory of every group_id of a set: 32 to 64 bytes a group, however long the ids."""

import hashlib
from array import array

_FIRST_SLOTS = 1 << 10
_FILE_SHIFT = 40  # a location is file index and row in one integer; 0 marks a free slot


class SeenGroups:
    """Finds the first place of a group_id that comes again.

    An open-addressing table over 8-byte hashes of the ids. Two different ids of a million share a
    hash with a chance of 3 in 100 million; the later one would then be called a duplicate.
    """

    def __init__(self) -> None:
        self._hashes = array("Q", bytes(8 * _FIRST_SLOTS))
        self._locations = array("Q", bytes(8 * _FIRST_SLOTS))
        self._count = 0

    def remember(self, group_id: str, file_index: int, row: int) -> tuple[int, int] | None:
        """Note a group; return (file index, row) of its first occurrence when there was one."""
        digest = hashlib.blake2b(group_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        location = ((file_index << _FILE_SHIFT) | row) + 1
        found = self._insert(int.from_bytes(digest, "little"), location)
        if found is not None:
            return (found - 1) >> _FILE_SHIFT, (found - 1) & ((1 << _FILE_SHIFT) - 1)
        self._count += 1
        if 2 * self._count > len(self._hashes):
            self._grow()
        return None

    def _insert(self, key: int, location: int) -> int | None:
        mask = len(self._hashes) - 1
        slot = key & mask
        while self._locations[slot]:
            if self._hashes[slot] == key:
                return self._locations[slot]
            slot = (slot + 1) & mask
        self._hashes[slot], self._locations[slot] = key, location
        return None

    def _grow(self) -> None:
        old = zip(self._hashes, self._locations, strict=True)
        empty = bytes(16 * len(self._hashes))
        self._hashes, self._locations = array("Q", empty), array("Q", empty)
        for key, location in old:
            if location:
                self._insert(key, location)
