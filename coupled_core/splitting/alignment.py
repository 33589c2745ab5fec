"""What N word sequences have in common: the longest shared runs, whatever their order."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """A stretch of words that stands in every sequence."""

    starts: tuple[int, ...]
    """Where it begins, a sequence each."""
    length: int


def find_common_runs(sequences: Sequence[Sequence[str]]) -> list[Run]:
    """Tile the sequences greedily with the longest runs that all of them share, longest first.

    No word is used twice. Order does not matter, so a background that leads one prompt and trails
    another is found (Wise 1993, greedy string tiling, over N sequences).
    """
    free = [[True] * len(sequence) for sequence in sequences]
    runs: list[Run] = []
    while (run := _find_longest(sequences, free)) is not None:
        runs.append(run)
        for start, flags in zip(run.starts, free, strict=True):
            flags[start : start + run.length] = [False] * run.length
    return runs


def _find_longest(sequences: Sequence[Sequence[str]], free: Sequence[Sequence[bool]]) -> Run | None:
    """Search by length: where a run of n words is shared, so is one of n - 1."""
    low, high, best = 1, min(len(sequence) for sequence in sequences), None
    while low <= high:
        length = (low + high) // 2
        starts = _find_shared(sequences, free, length)
        if starts is None:
            high = length - 1
        else:
            best, low = Run(starts, length), length + 1
    return best


def _find_shared(
    sequences: Sequence[Sequence[str]], free: Sequence[Sequence[bool]], length: int
) -> tuple[int, ...] | None:
    windows = [_windows(s, f, length) for s, f in zip(sequences, free, strict=True)]
    for window in windows[0]:
        if all(window in other for other in windows[1:]):
            return tuple(other[window] for other in windows)
    return None


def _windows(
    sequence: Sequence[str], free: Sequence[bool], length: int
) -> dict[tuple[str, ...], int]:
    """Return every free window of a length with its first start."""
    found: dict[tuple[str, ...], int] = {}
    for start in range(len(sequence) - length + 1):
        if all(free[start : start + length]):
            found.setdefault(tuple(sequence[start : start + length]), start)
    return found
