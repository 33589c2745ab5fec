"""Which part of a shared run of words describes the scene, and which belongs to an entity."""

from collections.abc import Sequence
from dataclasses import dataclass

from coupled_core.splitting.entity_phrase import base_form
from coupled_core.splitting.words import (
    ADJECTIVES,
    BE,
    BELONGINGS,
    BREAKS,
    CONJUNCTIONS,
    DETERMINERS,
    DISTANCES,
    LOCATIVES,
    POSITIONS,
    PREPOSITIONS,
    PRONOUNS,
    SCENE_STARTERS,
    SCENE_WORDS,
    VERBS,
    is_content,
)


@dataclass(frozen=True)
class Surroundings:
    """What stands beside a shared run in the prompts."""

    is_lead: bool
    """It begins some prompt, so it may begin with the subject."""
    is_open_left: bool
    """In some prompt another word stands directly before it: it may begin inside an entity."""
    is_open_right: bool
    """In some prompt another word stands directly after it: it may end inside an entity."""
    follows_preposition: bool = False
    """In every prompt a preposition of place stands directly before it, not the same in all."""
    follows_position: bool = False
    """In every prompt a part of the frame is named directly before it: "the foreground"."""


def find_scene(keys: Sequence[str], beside: Surroundings) -> tuple[int, int] | None:
    """Return the part [start, end) of a run that describes the scene; None: there is none."""
    low, high = 0, len(keys)
    while low < high and keys[low] in BREAKS:
        low += 1
    while high > low and keys[high - 1] in BREAKS:
        high -= 1
    is_open_left = beside.is_open_left and low == 0
    is_open_right = beside.is_open_right and high == len(keys)
    is_lead = beside.is_lead and low == 0
    if beside.follows_preposition and low == 0 and _begins_with_scene(keys, high):
        start: int | None = low
    else:
        start = _find_start(keys, low, high, beside) if is_open_left or is_lead else low
    if start is None:
        return None
    end = _find_end(keys, start, high) if is_open_right else high
    is_inside = is_open_left and is_open_right
    return (start, end) if _describes_scene(keys[start:end], is_inside) else None


def _find_start(keys: Sequence[str], low: int, high: int, beside: Surroundings) -> int | None:
    """Find the first phrase that is a place; what comes before it belongs to the entity."""
    for index in range(low, high):
        phrase = keys[index + 1 : _phrase_end(keys, index + 1, high)]
        if index == low == 0 and beside.is_lead and _leads_with_scene(keys, low, high):
            return index
        if index > low and keys[index - 1] in BREAKS and not _is_personal(phrase):
            return index
        if keys[index] in LOCATIVES | SCENE_STARTERS and not _is_personal(phrase):
            return index
        if keys[index] == "with" and SCENE_WORDS & set(phrase):
            return index
        is_after_position = beside.follows_position if index == 0 else keys[index - 1] in POSITIONS
        if keys[index] == "of" and is_after_position and set(phrase[-1:]) & SCENE_WORDS:
            return index + 1  # "in the foreground" is the entity's, "a pasture" the scene's
    return None


def _leads_with_scene(keys: Sequence[str], low: int, high: int) -> bool:
    """Say whether a run that opens a prompt opens it with the scene, not with the subject."""
    if _is_noun_phrase_of_scene(keys, low, high):
        return True
    first_break = next((i for i in range(low, high) if keys[i] in BREAKS), high)
    opening = keys[low:first_break]
    if BELONGINGS & set(opening):
        return False
    if keys[low] == "with":
        return bool(SCENE_WORDS & set(opening))
    if keys[low] in DISTANCES:
        return any(key in PREPOSITIONS for key in opening[1:4])
    end = _phrase_end(keys, low + 1, high)
    return keys[low] in LOCATIVES and keys[end : end + 1] == ["of"]


def _begins_with_scene(keys: Sequence[str], high: int) -> bool:
    """Say whether the first noun phrase is a place or a light: "a rocky shore under clouds"."""
    phrase = keys[: _phrase_end(keys, 0, high)]
    end = next((i for i, key in enumerate(phrase) if key in SCENE_STARTERS), len(phrase))
    return end > 0 and phrase[end - 1] in SCENE_WORDS


def _find_end(keys: Sequence[str], start: int, high: int) -> int:
    """Cut off what begins the entity after the run: "in a meadow, a red" ends with "meadow"."""
    end = high
    while end > start:
        phrase_start = _phrase_start(keys, start, end)
        phrase = keys[phrase_start:end]
        second = [i for i, key in enumerate(phrase) if key in DETERMINERS and i > 0]
        if second:
            end = phrase_start + second[-1]
            if keys[end - 1] not in PRONOUNS:
                end -= _is_inverted_verb(keys, end - 1, start)
                break  # a new noun phrase begins there, so what stands before it is complete
            end -= 1
        elif phrase and phrase[-1] in SCENE_WORDS:
            break
        elif phrase_start > start and keys[phrase_start - 1] in BREAKS:
            end = phrase_start - 1  # the comma closes what stands before it
            break
        elif SCENE_WORDS & set(phrase):
            end = phrase_start + max(i for i, key in enumerate(phrase) if key in SCENE_WORDS) + 1
            break
        elif phrase_start > start and keys[phrase_start - 1 : end] in (["with", "a"], ["with"]):
            end = phrase_start - 1  # so does the "with" that brings in the entity
            break
        else:
            end = phrase_start - 1 if phrase_start > start else start
    while end > start and not is_content(keys[end - 1]):
        end -= 1
    return end


def _is_inverted_verb(keys: Sequence[str], index: int, start: int) -> bool:
    """Say whether the word before an article is the verb of the entity: "in a swamp stands a"."""
    word = keys[index]
    if word in SCENE_WORDS or index <= start:
        return False
    if word in VERBS or base_form(word) in VERBS:
        return True
    before = keys[index - 1]
    follows_noun = is_content(before) and before not in ADJECTIVES
    return follows_noun and word.endswith(("s", "ed")) and not word.endswith("ss")


def _describes_scene(keys: Sequence[str], must_name_scene: bool) -> bool:
    if not any(is_content(key) for key in keys):
        return False
    if SCENE_WORDS & set(keys):
        return True
    return not must_name_scene and not _is_personal(keys)


def _is_noun_phrase_of_scene(keys: Sequence[str], low: int, high: int) -> bool:
    """Say whether a run opens with a finished noun phrase like "a vibrant meadow"."""
    end = _phrase_end(keys, low, high)
    return low < end < high and keys[low] not in PREPOSITIONS and keys[end - 1] in SCENE_WORDS


def _is_personal(phrase: Sequence[str]) -> bool:
    """Say whether a phrase is about what somebody wears or where in the frame it is."""
    words = set(phrase)
    return bool(words & (BELONGINGS | POSITIONS)) and not words & SCENE_WORDS


def _phrase_end(keys: Sequence[str], start: int, high: int) -> int:
    for index in range(start, high):
        if keys[index] in PREPOSITIONS | BREAKS | CONJUNCTIONS | BE:
            return index
    return high


def _phrase_start(keys: Sequence[str], start: int, end: int) -> int:
    """Return where the last noun phrase of [start, end) begins."""
    for index in range(end - 1, start - 1, -1):
        if keys[index] in PREPOSITIONS | BREAKS:
            return index + 1
    return start
