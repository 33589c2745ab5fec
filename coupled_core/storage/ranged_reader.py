"""A remote object as a seekable file that fetches only what is read."""

import io
from collections.abc import Callable
from typing import Any

# Parquet's footer and small columns are read in one request each, not in dozens.
_BUFFER_BYTES = 1 << 20


class _RangedReader(io.RawIOBase):
    def __init__(self, size_bytes: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size_bytes
        self._fetch = fetch
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        # A range past the end would be answered by an error; 0 bytes mean the end of the file.
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        data = self._fetch(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def open_ranges(size_bytes: int, fetch: Callable[[int, int], bytes]) -> io.BufferedReader:
    """Return a buffered file over `fetch(start, end)`, which returns bytes [start, end)."""
    return io.BufferedReader(_RangedReader(size_bytes, fetch), _BUFFER_BYTES)


def open_unbuffered_ranges(size_bytes: int, fetch: Callable[[int, int], bytes]) -> io.RawIOBase:
    """Return such a file without a buffer, for where thousands may be open."""
    return _RangedReader(size_bytes, fetch)
