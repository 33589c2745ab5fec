"""Partitions of backgrounds: near ones that are apart, and the present rule over old rows."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coupled_core.dataset.backgrounds import (
    PARTITION_RULE,
    content_words,
    partition_of_background,
)
from coupled_core.dataset.reader import load_snapshot
from coupled_core.dataset.row_index import RowIndex, open_index
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot, snapshot_key
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


def compare_new_backgrounds(store: ObjectStore, snapshot: Snapshot) -> list[NearBackgrounds]:
    """Return what `find_near_backgrounds` says about the kept pairs that a snapshot has added."""
    name = snapshot.parent
    is_kept = name is not None and store.exists(snapshot_key(name))
    parent = load_snapshot(store, name) if name and is_kept else None
    # By content: a rewrite gives equal rows the same part again.
    known = {part.sha256 for part in parent.parts} if parent else set()
    added = {part.sha256 for part in snapshot.parts_of("manifest")} - known
    with open_index(store, snapshot) as index:
        return find_near_new(index, added)


def find_near_new(index: RowIndex, added: Collection[str]) -> list[NearBackgrounds]:
    """Return what `find_near_backgrounds` says about the backgrounds of some parts, by SHA-256."""
    # First pass: only what is near a new background is of interest, and most of a large dataset is
    # not. The second pass then holds few texts.
    new = index.count_backgrounds(added)
    holders: dict[str, list[frozenset[str]]] = defaultdict(list)
    for words in {content_words(text) for text, _ in new}:
        # Any fixed order of words will do for the lookup; this one needs no counts over all rows.
        for word in _prefix(sorted(words)):
            holders[word].append(words)

    def is_near(words: frozenset[str]) -> bool:
        candidates = (other for word in words for other in holders.get(word, ()))
        return any(_overlap(words, other) >= MIN_OVERLAP for other in candidates)

    counts = index.count_backgrounds(select=is_near)
    return find_near_backgrounds(((*key, count) for key, count in counts.items()), new)


def find_near_backgrounds(
    backgrounds: Iterable[tuple[str, str, int]], new: Collection[tuple[str, str]] | None = None
) -> list[NearBackgrounds]:
    """Return backgrounds of different partitions that differ by a word or two, most alike first.

    Each set is looked up by some of its rarest words alone: `_prefix` says how many are enough.

    Args:
        backgrounds: Wording, partition, number of pairs. Equal sets of words are not reported:
            those are in one partition, or `verify` finds damage.
        new: Wording and partition of those of which one is in each pair that is looked for; None:
            all pairs are.
    """
    wordings: dict[_Wording, tuple[str, int]] = {}
    for text, partition, count in sorted(backgrounds):
        wording = (content_words(text), partition)
        first, before = wordings.get(wording, (text, 0))
        wordings[wording] = (first, before + count)
    asked = None if new is None else {(content_words(text), name) for text, name in new}
    found = [_report(one, other, wordings) for one, other in _iter_near(list(wordings), asked)]
    return sorted(found, key=lambda near: (-near.overlap, near.background, near.other))


_Wording = tuple[frozenset[str], str]
"""The content words of a background, and its partition."""


def _iter_near(
    wordings: list[_Wording], asked: Collection[_Wording] | None
) -> Iterator[tuple[_Wording, _Wording]]:
    frequency = Counter(word for words, _ in wordings for word in words)
    holders: dict[str, list[int]] = defaultdict(list)
    if asked is not None:
        # False sorts before True.
        wordings = sorted(wordings, key=lambda wording: wording not in asked)
    for index, (words, partition) in enumerate(wordings):
        # Near sets share one of the rarest words of each, and few sets have a rare word.
        prefix = _prefix(sorted(words, key=lambda word: (frequency[word], word)))
        for other in sorted({other for word in prefix for other in holders[word]}):
            other_words, other_partition = wordings[other]
            if other_partition != partition and MIN_OVERLAP <= _overlap(words, other_words) < 1:
                yield wordings[other], wordings[index]
        # Those that are asked about come first, and each pair has one of them.
        if asked is None or wordings[index] in asked:
            for word in prefix:
                holders[word].append(index)


def _prefix(words: list[str]) -> list[str]:
    """Return so many words of a set that each near one has one of them."""
    # An overlap of 2/3 means that at least ceil(2n/3) of the n words are common. So at most n -
    # ceil(2n/3) are missing in the other set, and one more than that cannot all be.
    return words[: len(words) - -(-2 * len(words) // 3) + 1]


def _report(
    one: _Wording, other: _Wording, wordings: Mapping[_Wording, tuple[str, int]]
) -> NearBackgrounds:
    # The one with more pairs first: the fewer are what a person would drop.
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
