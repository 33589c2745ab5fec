"""Partitions of backgrounds: near ones that are apart, and the present rule over old rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coupled_core.dataset.backgrounds import (
    PARTITION_RULE,
    content_words,
    partition_of_background,
)
from coupled_core.dataset.reader import iter_manifest, iter_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.rewrite import Rewrite, RewriteReport, rewrite_rows
from coupled_core.storage.store import ObjectStore


def repartition(store: ObjectStore, *, single_writer: bool = False) -> RewriteReport:
    """Assign every row to train, val or test by the present rule, as a new snapshot.

    Raises:
        DatasetError: as `rewrite_rows`.
    """
    rule = {"partition_rule": PARTITION_RULE}

    def change_run(run: RunInfo) -> RunInfo:
        return run.model_copy(update=rule)

    rewrite = Rewrite("repartition", rule, _assign, change_run)
    return rewrite_rows(store, rewrite, single_writer=single_writer)


def _assign(rows: Sequence[Row], _run: RunInfo) -> list[Row]:
    return [
        row
        if row["background_prompt"] is None
        else {**row, "partition": partition_of_background(row["background_prompt"])}
        for row in rows
    ]


MIN_OVERLAP = 2 / 3
"""Share of common content words (Jaccard) from which two backgrounds count as near-identical:
two words and one more ("vibrant meadow", "vibrant meadow with flowers"), five of which one differs.
"""


@dataclass(frozen=True)
class NearBackgrounds:
    """Two backgrounds in different partitions that may be one."""

    background: str
    partition: str
    other: str
    other_partition: str
    overlap: float
    """Share of their content words that both have, [0, 1)."""
    num_pairs: int
    """Pairs with the one of the two that has fewer."""


def compare_backgrounds(store: ObjectStore, snapshot: Snapshot) -> list[NearBackgrounds]:
    """Return what `find_near_backgrounds` says about the kept pairs of a snapshot."""
    columns = ("background_prompt", "partition", "kept")
    counts = Counter(
        (row["background_prompt"], row["partition"])
        for row in iter_rows(iter_manifest(store, snapshot.parts, columns))
        if row["kept"] and None not in row.values()
    )
    return find_near_backgrounds((*key, count) for key, count in counts.items())


def find_near_backgrounds(backgrounds: Iterable[tuple[str, str, int]]) -> list[NearBackgrounds]:
    """Return backgrounds of different partitions that differ by a word or two, most alike first.

    Two sets of words that overlap by 2/3 share one of the rarest words of each: of a set of n words
    all but ceil(2n/3) + 1 can be missing in the other, so each is looked up by these alone.

    Args:
        backgrounds: Wording, partition, number of pairs. Equal sets of words are not reported:
            those are in one partition, or `verify` finds damage.
    """
    wordings: dict[_Wording, tuple[str, int]] = {}
    for text, partition, count in sorted(backgrounds):
        wording = (content_words(text), partition)
        first, before = wordings.get(wording, (text, 0))
        wordings[wording] = (first, before + count)
    found = [_report(one, other, wordings) for one, other in _iter_near(list(wordings))]
    return sorted(found, key=lambda near: (-near.overlap, near.background, near.other))


_Wording = tuple[frozenset[str], str]
"""The content words of a background, and its partition."""


def _iter_near(wordings: list[_Wording]) -> Iterator[tuple[_Wording, _Wording]]:
    frequency = Counter(word for words, _ in wordings for word in words)
    holders: dict[str, list[int]] = defaultdict(list)
    for index, (words, partition) in enumerate(wordings):
        # Near sets share one of the rarest words of each, and few sets have a rare word.
        rarest = sorted(words, key=lambda word: (frequency[word], word))
        prefix = rarest[: len(words) - -(-2 * len(words) // 3) + 1]
        for other in sorted({other for word in prefix for other in holders[word]}):
            other_words, other_partition = wordings[other]
            if other_partition != partition and MIN_OVERLAP <= _overlap(words, other_words) < 1:
                yield wordings[other], wordings[index]
        for word in prefix:
            holders[word].append(index)


def _report(
    one: _Wording, other: _Wording, wordings: Mapping[_Wording, tuple[str, int]]
) -> NearBackgrounds:
    first, second = sorted((one, other), key=lambda each: (-wordings[each][1], each[1]))
    return NearBackgrounds(
        background=wordings[first][0],
        partition=first[1],
        other=wordings[second][0],
        other_partition=second[1],
        overlap=_overlap(one[0], other[0]),
        num_pairs=wordings[second][1],
    )


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
