"""Which part of a shared run of words describes the scene, and which belongs to an entity."""

from collections.abc import Sequence
from dataclasses import dataclass

from coupled_core.splitting.words import (
    BE,
    BELONGINGS,
    BREAKS,
    CONJUNCTIONS,
    DETERMINERS,
    LOCATIVES,
    POSITIONS,
    PREPOSITIONS,
    SCENE_STARTERS,
    SCENE_WORDS,
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
    start = _find_start(keys, low, high, is_lead) if is_open_left or is_lead else low
    if start is None:
        return None
    end = _find_end(keys, start, high) if is_open_right else high
    is_inside = is_open_left and is_open_right
    return (start, end) if _describes_scene(keys[start:end], is_inside) else None


def _find_start(keys: Sequence[str], low: int, high: int, is_lead: bool) -> int | None:
    """Find the first phrase that is a place; what comes before it belongs to the entity."""
    for index in range(low, high):
        phrase = keys[index + 1 : _phrase_end(keys, index + 1, high)]
        if index == low and is_lead and _is_noun_phrase_of_scene(keys, low, high):
            return index
        if index > low and keys[index - 1] in BREAKS and not _is_personal(phrase):
            return index
        if keys[index] in LOCATIVES | SCENE_STARTERS and not _is_personal(phrase):
            return index
        if keys[index] == "with" and SCENE_WORDS & set(phrase):
            return index
    return None


def _find_end(keys: Sequence[str], start: int, high: int) -> int:
    """Cut off what begins the entity after the run: "in a meadow, a red" ends with "meadow"."""
    end = high
    while end > start:
        phrase_start = _phrase_start(keys, start, end)
        phrase = keys[phrase_start:end]
        second = [i for i, key in enumerate(phrase) if key in DETERMINERS and i > 0]
        if second:
            end = phrase_start + second[-1]
        elif phrase and phrase[-1] in SCENE_WORDS:
            break
        elif phrase_start > start and keys[phrase_start - 1] in BREAKS:
            end = phrase_start - 1  # the comma closes what stands before it
            break
        elif SCENE_WORDS & set(phrase):
            end = phrase_start + max(i for i, key in enumerate(phrase) if key in SCENE_WORDS) + 1
            break
        else:
            end = phrase_start - 1 if phrase_start > start else start
    while end > start and not is_content(keys[end - 1]):
        end -= 1
    return end


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
