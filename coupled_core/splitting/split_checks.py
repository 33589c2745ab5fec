"""What is wrong with a finished offline split: a doubtful group is rejected rather than guessed."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, takewhile

from coupled_core.splitting.phrases import parse_entity
from coupled_core.splitting.words import (
    ADDRESSES,
    BELONGINGS,
    BREAKS,
    DETERMINERS,
    LOCATIVES,
    PLACES,
    POSITIONS,
    PREPOSITIONS,
    SCENE_WORDS,
    TIMES_AND_LIGHTS,
    VERBS,
    find_media_lead,
    is_content,
    tokenise,
)

_MARKUP = re.compile(r"[<>{}\[\]|\\]")
_OWN_PLACES = PLACES - PREPOSITIONS - {"background", "grass", "sand", "snow"}
"""Places that somebody else is at; the last three can also lie on a thing."""


def find_problem(background: str, entities: Sequence[str]) -> str | None:
    """Return what speaks against a split, worded for its user; None: nothing does."""
    return (
        _find_bad_entity(background, entities)
        or _find_bad_background(background)
        or _find_other_scene(background, entities)
        or _find_scene_as_subject(entities)
        or _find_place_left_behind(background, entities)
    )


def _find_bad_entity(background: str, entities: Sequence[str]) -> str | None:
    for index, entity in enumerate(entities):
        if not any(is_content(token.key) for token in tokenise(entity)):
            return f"prompt {index} names nothing besides the background {background!r}"
    for (i, first), (j, second) in combinations(enumerate(entities), 2):
        if first.casefold() == second.casefold():
            return f"prompts {i} and {j} have the same entity {first!r}"
    shared = {token.key for token in tokenise(background)}
    for index, entity in enumerate(entities):
        head = parse_entity(entity).head.casefold()
        if head in shared:
            return (
                f"the entity {head!r} of prompt {index} is named in the background {background!r}"
            )
    return None


def _find_bad_background(background: str) -> str | None:
    if _MARKUP.search(background):
        return f"the shared words {background!r} hold markup"
    keys = _keys(background)
    if ADDRESSES & set(keys):
        return f"the shared words {background!r} speak to a reader instead of describing a scene"
    if not SCENE_WORDS & set(keys) and not any(_phrases(keys)):
        return f"the shared words {background!r} name neither a place nor a light"
    return None


def _find_other_scene(background: str, entities: Sequence[str]) -> str | None:
    """Find prompts that share one scene phrase and differ in another: "at noon", "at night"."""
    left_over = [frozenset(_rest(entity)) & SCENE_WORDS for entity in entities]
    for (i, first), (j, second) in combinations(enumerate(left_over), 2):
        if first and second and not first & second:
            named = [f"{', '.join(sorted(w))} in prompt {k}" for k, w in ((i, first), (j, second))]
            return f"the scenes differ beside the shared {background!r}: {' and '.join(named)}"
    return None


def _find_scene_as_subject(entities: Sequence[str]) -> str | None:
    """Find "a salt flat, a cyclist" beside "a salt flat, an ostrich": an unknown word for a place.

    So is a subject that differs in nothing but a light: "a ruin" beside "a ruin at night".
    """
    keys = [_keys(entity) for entity in entities]
    opening = _find_opening(keys)
    if opening:
        return f"{opening!r} begins all prompts, but is not known as a place"
    for (i, first), (j, second) in combinations(enumerate(keys), 2):
        difference = {key for key in set(first) ^ set(second) if is_content(key)}
        if difference and difference <= SCENE_WORDS:
            return f"prompts {i} and {j} differ in nothing but {', '.join(sorted(difference))}"
    return None


def _find_opening(keys: Sequence[Sequence[str]]) -> str:
    """Return the noun phrase that begins all prompts and that another one follows directly."""
    same = takewhile(lambda words: len(set(words)) == 1, zip(*keys, strict=False))
    opening = [words[0] for words in same]
    while opening and opening[-1] in DETERMINERS:
        opening.pop()
    if not all(set(words[len(opening) :][:1]) & DETERMINERS for words in keys):
        return ""
    is_closed = bool(opening) and opening[-1] in BREAKS
    words = opening[:-1] if is_closed else opening
    words = words[find_media_lead(tokenise(" ".join(words))) :]
    if not words or words[0] not in DETERMINERS or not is_content(words[-1]):
        return ""
    may_be_verb = words[-1].endswith(("ing", "ed", "s")) or words[-1] in VERBS
    return " ".join(words) if is_closed or not may_be_verb else ""


def _find_place_left_behind(background: str, entities: Sequence[str]) -> str | None:
    """Find a place in an entity prompt: shared words that were not recognised, or another scene."""
    has_place = _names_place(_keys(background))
    rests = [_rest(entity) for entity in entities]
    shared = set.intersection(*(set(_ends_of_phrases(rest)) for rest in rests)) & SCENE_WORDS
    if shared - PREPOSITIONS:
        return f"all prompts have {min(shared)!r} beside the shared {background!r}"
    for index, rest in enumerate(rests):
        place = next((key for key in _ends_of_phrases(rest) if key in _OWN_PLACES), None)
        if place is None and not has_place:
            place = next((" ".join(phrase) for phrase in _phrases(rest)), None)
        if place is not None:
            return f"prompt {index} has {place!r} beside the shared {background!r}"
    return None


def _names_place(keys: Sequence[str]) -> bool:
    if (PLACES - PREPOSITIONS) & set(keys):
        return True
    return any(phrase[-1] not in TIMES_AND_LIGHTS for phrase in _phrases(keys))


def _phrases(keys: Sequence[str]) -> Iterator[list[str]]:
    """Yield what follows each preposition of place, unless somebody wears it."""
    for index, key in enumerate(keys):
        if key in LOCATIVES:
            rest = list(keys[index + 1 :])
            phrase = _first_phrase(rest)
            if set(phrase) <= POSITIONS and "of" in rest:
                phrase = _first_phrase(rest[rest.index("of") + 1 :])  # "in front of a pyramid"
            if phrase and not BELONGINGS & set(phrase) and not set(phrase) <= POSITIONS:
                yield phrase


def _first_phrase(keys: Sequence[str]) -> list[str]:
    """Return the words with a meaning before the first preposition or mark."""
    return [k for k in takewhile(lambda k: k not in PREPOSITIONS | BREAKS, keys) if is_content(k)]


def _ends_of_phrases(keys: Sequence[str]) -> Iterator[str]:
    """Yield the words that no other word with a meaning follows directly."""
    for index, key in enumerate(keys):
        if index + 1 == len(keys) or not is_content(keys[index + 1]):
            yield key


def _rest(entity: str) -> list[str]:
    """Return the words of an entity prompt after its noun phrase."""
    phrase = parse_entity(entity)
    return _keys(f"{phrase.attachment} {phrase.predicate}")


def _keys(text: str) -> list[str]:
    return [token.key for token in tokenise(text)]
