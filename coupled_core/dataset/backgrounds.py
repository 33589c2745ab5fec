"""Which backgrounds are the same in other words, and so belong to one partition.

No look at other rows is needed: a hash of its content words puts a background into train, val or
test, so case, punctuation, articles, prepositions, plurals, framing ("a view of") and the order of
words change nothing. What differs by a word or two is found afterwards (`upkeep.partition`).
"""

import hashlib
import re
import unicodedata
from functools import lru_cache

PARTITIONS = ("train", "val", "test")
PARTITION_RULE = "2"
"""Goes up when a background may change its partition: one dataset must not mix two rules.

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


def partition_of_background(background_prompt: str) -> str:
    """Assign a background to train, val or test: 90, 5 and 5 of 100 by the hash of its words."""
    digest = hashlib.sha256(canonical_background(background_prompt).encode()).digest()
    # The hash of the words alone decides: another run, machine or order of rows comes to the same
    # partition, and growth never moves a background.
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
    # NFKC makes full-width letters and ligatures plain, NFKD parts letters from their accents so
    # that these can be left out, NFC joins what remains (Hangul) again.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)))


def _singular(word: str) -> str:
    """Return a word without a plural's or a possessive's ending, as far as spelling shows it."""
    # Rough rules are enough: both wordings of a background go through the same ones.
    word = re.sub(r"['’]s?$", "", word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("shes", "ches", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
