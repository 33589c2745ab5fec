"""Compare texts by their words, in any language, as people see them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from functools import lru_cache

from coupled_core.wording.forms import participle_of, singular_of
from coupled_core.wording.words import BE, CONJUNCTIONS, DETERMINERS, PREPOSITIONS, tokenise

_FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | BE | {"there"}
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Kana, Han: scripts without spaces, of which every sign is a word."""
# In letters: the least that words must share at the front, and the most by which they may differ at
# the end.
_MIN_STEM, _MAX_ENDING, _MAX_SHORT_ENDING = 3, 4, 2


@lru_cache(maxsize=512)  # the checks ask for the words of one group's texts again and again
def content_words(text: str) -> tuple[str, ...]:
    """Return the words of a text that carry meaning, without case, in order, repeated ones too.

    How a letter is encoded makes no difference: é in one or two parts, full width, a break or a
    joiner that nobody sees inside a word. A letter of another alphabet that looks alike does.
    """
    return tuple(word for word in plain_words(text) if word not in _FUNCTION_WORDS)


@lru_cache(maxsize=512)
def plain_words(text: str) -> tuple[str, ...]:
    """Return all words of a text, without case and without a possessive ending."""
    words: list[str] = []
    for token in tokenise(_plain(text)):
        # Without spaces a token is a whole sentence; sign by sign it can be compared.
        if _UNSPACED.search(token.key):
            words.extend(token.key)
        elif token.is_word:
            words.append(token.key.removesuffix("'s").removesuffix("’s"))
    return tuple(words)


def weigh_words(words: Collection[str]) -> float:
    """Return how many words there are; a sign of a script without spaces is half of one."""
    return sum(0.5 if _UNSPACED.search(word) else 1.0 for word in words)


def is_among(word: str, words: Collection[str]) -> bool:
    """Say whether a word, or another form of it (leap, leaping), is among others."""
    return word in words or any(_same_stem(word, other) for other in words)


def are_forms(one: str, other: str) -> bool:
    """Say whether two words are forms of one, such as "cat" and "cats", "old" and "older".

    Stricter than `is_among`: "kite" and "kitten" are not.
    """
    if word_form(one) == word_form(other):
        return True
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) >= _MIN_STEM and longer.startswith(shorter):
        return len(longer) - len(shorter) <= _MAX_SHORT_ENDING
    # Letters in common at the front: "happy" and "happier" differ in their endings alone.
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return same > _MIN_STEM and max(len(one), len(other)) - same < _MAX_ENDING


def word_form(word: str) -> str:
    """Return what the forms of an English word have in common: participle, or singular."""
    return participle_of(word) or singular_of(word)


def missing_from(text: str, source: Collection[str]) -> list[str]:
    """Return the content words of a text that do not come from a source's words."""
    return [word for word in dict.fromkeys(content_words(text)) if not is_among(word, source)]


@lru_cache(maxsize=512)
def main_script(text: str) -> str:
    """Return the script of most letters: LATIN, CYRILLIC, CJK, ...; empty without letters."""
    names = Counter(_script(char) for char in text if char.isalpha())
    return names.most_common(1)[0][0] if names else ""


def _script(char: str) -> str:
    if char.isascii():
        return "LATIN"
    name = unicodedata.name(char, "UNKNOWN").split(" ")[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "FULLWIDTH") else name


def _plain(text: str) -> str:
    if text.isascii():
        return text
    # Joiners and soft hyphens, which no reader sees.
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", seen)


def _same_stem(word: str, other: str) -> bool:
    if word[:_MIN_STEM] != other[:_MIN_STEM] or min(len(word), len(other)) < _MIN_STEM:
        return False
    same = _MIN_STEM
    for a, b in zip(word[same:], other[same:], strict=False):
        if a != b:
            break
        same += 1
    return max(len(word), len(other)) - same <= _MAX_ENDING
