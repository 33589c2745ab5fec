"""Compare what a finished export says to its reader with what was meant."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from coupled_core.errors import DatasetError
from coupled_core.export.edits import SeenEdit
from coupled_core.progress import current_progress

Digests = Mapping[str, str]


class EditSet:
    """A set of edits as one number: the sum of their hashes, equal in any order of the edits.

    Thirty-two bytes, however many edits; two different sets agree with a chance of 2^-256.
    """

    def __init__(self) -> None:
        self.num_edits = 0
        self._sum = 0

    def add(self, digest: str) -> None:
        """Take an edit in, by `SeenEdit.digest`."""
        self.num_edits += 1
        # A sum and not an exclusive or, in which an edit that is there twice would vanish.
        self._sum = (self._sum + int(digest, 16)) % (1 << 256)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EditSet):
            return NotImplemented
        return (self.num_edits, self._sum) == (other.num_edits, other._sum)

    __hash__ = None  # type: ignore[assignment]  # it changes


def check_pairing(
    expected: Callable[[], Iterable[Digests]], seen: Callable[[], Iterator[SeenEdit]], where: str
) -> int:
    """Read an export back and return how many edits it holds.

    Args:
        expected: Yields the digests of each unit, by key; called once more if anything differs.
        seen: Yields the edits as the export's reader finds them.
        where: Name of the export, for the error.

    Raises:
        DatasetError: an edit is missing, is there twice, or does not go together as it should.
    """
    meant, found = EditSet(), EditSet()
    for digests in expected():
        for digest in digests.values():
            meant.add(digest)
    progress = current_progress()
    progress.begin("check", meant.num_edits)
    for edit in seen():
        found.add(edit.digest())
        progress.advance("check")
    if found != meant:
        raise DatasetError(f"{where} does not say what was written: {_difference(expected, seen)}")
    return found.num_edits


def _difference(
    expected: Callable[[], Iterable[Digests]], seen: Callable[[], Iterator[SeenEdit]]
) -> str:
    """Name one culprit; by now memory does not matter."""
    open_keys = {key: digest for digests in expected() for key, digest in digests.items()}
    for edit in seen():
        digest = open_keys.pop(edit.key, None)
        if digest is None:
            return f"edit {edit.key} is there twice, or was never written"
        if digest != edit.digest():
            return f"edit {edit.key} has another source, target or instruction"
    return f"edit {min(open_keys)} is missing" if open_keys else "it changes while it is read"
