"""Backgrounds in different splits that differ by a word or two, and so may be one: a leak, perhaps.

Whether they are one no rule of words can say, so nothing is moved or dropped: they are named.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from coupled_core.dataset.backgrounds import content_words
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.storage.store import ObjectStore

MIN_OVERLAP = 2 / 3
"""Share of common content words (Jaccard) from which two backgrounds count as near-identical:
two words and one more ("vibrant meadow", "vibrant meadow with flowers"), five of which one differs.
"""


@dataclass(frozen=True)
class NearBackgrounds:
    """Two backgrounds in different splits that may be one."""

    background: str
    split: str
    other: str
    other_split: str
    overlap: float
    """Share of their content words that both have, [0, 1)."""
    num_pairs: int
    """Pairs of the smaller of the two."""


def find_near_backgrounds(
    backgrounds: Iterable[tuple[str, str, int]],
) -> list[NearBackgrounds]:
    """Return backgrounds of different splits that differ by a word or two, most alike first.

    Two sets of words that overlap by 2/3 share one of the rarest words of each: of a set of n words
    all but ceil(2n/3) + 1 can be missing in the other, so each is looked up by these alone.

    Args:
        backgrounds: Wording, split, number of pairs. Equal sets of words are not reported: those
            are in one split, or `verify` finds damage.
    """
    wordings: dict[tuple[frozenset[str], str], tuple[str, int]] = {}
    for text, split, count in sorted(backgrounds):
        first, before = wordings.get((content_words(text), split), (text, 0))
        wordings[content_words(text), split] = (first, before + count)
    found = [_report(one, other, wordings) for one, other in _iter_near(list(wordings))]
    return sorted(found, key=lambda near: (-near.overlap, near.background, near.other))


_Wording = tuple[frozenset[str], str]


def _iter_near(wordings: list[_Wording]) -> Iterator[tuple[_Wording, _Wording]]:
    frequency: dict[str, int] = defaultdict(int)
    for words, _ in wordings:
        for word in words:
            frequency[word] += 1
    holders: dict[str, list[int]] = defaultdict(list)
    for index, (words, split) in enumerate(wordings):
        rarest = sorted(words, key=lambda word: (frequency[word], word))
        prefix = rarest[: len(words) - -(-2 * len(words) // 3) + 1]
        candidates = {other for word in prefix for other in holders[word]}
        for other in sorted(candidates):
            if (
                wordings[other][1] != split
                and MIN_OVERLAP <= _overlap(words, wordings[other][0]) < 1
            ):
                yield wordings[other], wordings[index]
        for word in prefix:
            holders[word].append(index)


def _report(
    one: _Wording, other: _Wording, wordings: Mapping[_Wording, tuple[str, int]]
) -> NearBackgrounds:
    first, second = sorted((one, other), key=lambda each: (-wordings[each][1], each[1]))
    return NearBackgrounds(
        background=wordings[first][0],
        split=first[1],
        other=wordings[second][0],
        other_split=second[1],
        overlap=_overlap(one[0], other[0]),
        num_pairs=wordings[second][1],
    )


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def compare_backgrounds(store: ObjectStore, snapshot: Snapshot) -> list[NearBackgrounds]:
    """Return what `find_near_backgrounds` says about the kept pairs of a snapshot."""
    counts: Counter[tuple[str, str]] = Counter()
    columns = ("background_prompt", "split", "kept")
    for batch in iter_manifest(store, snapshot.parts, columns):
        for background, split, is_kept in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            if is_kept and background is not None and split is not None:
                counts[background, split] += 1
    return find_near_backgrounds((*key, count) for key, count in counts.items())
