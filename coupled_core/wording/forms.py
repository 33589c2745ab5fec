"""Forms of English words: plurals, participles, and which article goes with a word."""

import re

from coupled_core.wording.lexicon import (
    IRREGULAR_PLURALS,
    NOUNS_IN_ING,
    PREDICATIVE,
    SINGULARS_IN_S,
    STATES,
    VERBS,
)

_SPOKEN_WITH_Y_OR_W = ("uni", "use", "usu", "euro", "one", "once", "ufo", "ukulele", "ewe", "utop")
_WITH_SILENT_H = ("hour", "honest", "honor", "honour", "heir")


def is_plural_noun(noun: str) -> bool:
    """Say whether a noun may name several things: by its ending, or by a list."""
    noun = noun.casefold()
    return noun in IRREGULAR_PLURALS or ends_in_plural_s(noun)


def singular_of(noun: str) -> str:
    """Return the singular of a plural noun: "foxes" -> "fox", "children" -> "child"."""
    noun = noun.casefold()
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return noun[:-2]
    return noun[:-1] if ends_in_plural_s(noun) else noun


def agrees_with_article(article: str, word: str) -> bool:
    """Say whether "a" or "an" is right before a word, by its letters and the known exceptions."""
    word = word.casefold()
    has_vowel = word[0] in "aeiou" and not word.startswith(_SPOKEN_WITH_Y_OR_W)
    takes_an = has_vowel or word.startswith(_WITH_SILENT_H)
    return article not in ("a", "an") or takes_an == (article == "an")


def participle_of(word: str) -> str | None:
    """Return the participle of a known verb in any form: "flies" -> "flying"; None: not known."""
    if word in STATES | PREDICATIVE:
        return word
    if word.endswith("ing"):
        return None if word in NOUNS_IN_ING or _base_of_ing(word) is None else word
    base = word if word in VERBS else _base_of_third_person(word)
    return None if base is None else _add_ing(base)


def is_participle(word: str) -> bool:
    """Say whether a word says what something does or how it is: "flying", "parked", "asleep"."""
    return (word.endswith("ing") or word in STATES | PREDICATIVE) and bool(participle_of(word))


def ends_in_plural_s(word: str) -> bool:
    """Say whether a word ends like a plural; "glass", "bus" and "lens" do not."""
    is_one = word.endswith(("ss", "us", "is")) or word in SINGULARS_IN_S
    return word.endswith("s") and not is_one


def _base_of_ing(word: str) -> str | None:
    stem = word[:-3]
    # walk-ing, div(e)-ing, run(n)-ing, l(ie)-ying.
    return _first_verb(stem, stem + "e", stem[:-1], stem[:-1] + "ie")


def _base_of_third_person(word: str) -> str | None:
    if not ends_in_plural_s(word):
        return None
    # walk-s, perch-es, fl(y)-ies.
    return _first_verb(word[:-1], word[:-2], word[:-3] + "y")


def _first_verb(*candidates: str) -> str | None:
    return next((base for base in candidates if base in VERBS), None)


def _add_ing(base: str) -> str:
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        return base[:-1] + "ing"
    # One syllable that ends in one vowel and one consonant doubles the latter: "run", "running".
    is_short = len(re.findall("[aeiou]+", base)) == 1
    if is_short and re.search("[^aeiou][aeiou][^aeiouwxy]$", base):
        return f"{base}{base[-1]}ing"
    return base + "ing"
