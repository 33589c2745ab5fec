"""Which backgrounds are the same in other words, and so belong to one split of train, val and test.

No look at other rows is needed: a background goes to the split that a hash of its content words
says, so case, punctuation, articles, prepositions, plurals, framing ("a view of") and the order of
words change nothing. What differs by a word or two is found afterwards (`near_backgrounds`).
"""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.storage.store import ObjectStore

SplitName = Literal["train", "val", "test"]

SPLIT_RULE = "2"
"""Goes up when a background may change its split: one dataset must not mix two rules.

1 compared spellings without case, spacing and outer punctuation; 2 compares content words.
"""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ARTICLES = "a an the this that these those some its his her their our my your one"
_PREPOSITIONS = (
    "in on at under by near beside below above inside outside across along against amid among "
    "around behind between beneath beyond over upon within through throughout underneath during "
    "before toward towards off past of with without from into onto for to as"
)
_CONNECTIVES = "and or is are was were be being been there here where which"
_FRAMING = "picture image photo photograph scene view background backdrop setting"
_EMPTY_WORDS = frozenset(" ".join((_ARTICLES, _PREPOSITIONS, _CONNECTIVES, _FRAMING)).split())
"""Words that tell two places apart no more than the order of words does."""


def split_of_background(background_prompt: str) -> SplitName:
    """Assign a background to train, val or test: 90, 5 and 5 of 100 by the hash of its words."""
    digest = hashlib.sha256(canonical_background(background_prompt).encode()).digest()
    bucket = int.from_bytes(digest[:8], "big") % 100
    return "train" if bucket < 90 else "val" if bucket < 95 else "test"


def canonical_background(background_prompt: str) -> str:
    """Return what all wordings of one background have in common: its content words, sorted."""
    return " ".join(sorted(content_words(background_prompt)))


@lru_cache(maxsize=4096)
def content_words(text: str) -> frozenset[str]:
    """Return the words that say what a background shows; all words where none does."""
    words = [_singular(word) for word in _WORD.findall(_fold(text))]
    return frozenset(word for word in words if word not in _EMPTY_WORDS) or frozenset(words)


def _fold(text: str) -> str:
    """Return a text without case, compatibility forms and accents."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)))


def _singular(word: str) -> str:
    """Return a word without a plural's or a possessive's ending, as far as spelling shows it."""
    word = re.sub(r"['’]s?$", "", word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("shes", "ches", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


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
