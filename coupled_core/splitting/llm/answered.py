"""Which requests have an answer, from one listing: eight bytes a request."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable

_DIGITS = 16


class AnsweredRequests:
    """The beginnings of request hashes. It may say yes in error, never no."""

    def __init__(self, sha256s: Iterable[str]) -> None:
        """Take request hashes in ascending order, as stores list them."""
        self._prefixes = array("Q", (int(sha256[:_DIGITS], 16) for sha256 in sha256s))

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, sha256: str) -> bool:
        prefix = int(sha256[:_DIGITS], 16)
        at = bisect_left(self._prefixes, prefix)
        return at < len(self._prefixes) and self._prefixes[at] == prefix
