"""Write the background prompt and the entity prompts from the tokens that were chosen for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from coupled_core.splitting.phrases import base_form
from coupled_core.splitting.words import (
    BE,
    BREAKS,
    CONJUNCTIONS,
    DETERMINERS,
    PLACES,
    PLAIN_MEDIA,
    PREPOSITIONS,
    TIMES_AND_LIGHTS,
    VERBS,
    Token,
    find_media_lead,
    write_sentence,
)

_INNER = frozenset({"in", "on", "at", "inside"})
_COMMA = Token(",", has_space_before=False)


@dataclass(frozen=True)
class Segment:
    """A shared stretch of words that describes the scene."""

    starts: tuple[int, ...]
    """Where it begins, a prompt each."""
    length: int


def write_background(
    prompt: Sequence[Token], segments: Sequence[Segment], lead: Sequence[Token]
) -> str:
    """Join the segments, as they stand in the first prompt, to one sentence."""
    written: list[Token] = []
    for segment in segments:
        start = segment.starts[0]
        words = list(prompt[start : start + segment.length])
        words[0] = replace(words[0], has_space_before=True)
        if written:
            written += _separator(prompt, start, written, words)
        written += words
    return write_sentence(_add_style(written, lead))


def write_entity(
    prompt: Sequence[Token], taken: Sequence[tuple[int, int]], lead: Sequence[Token]
) -> str:
    """Write what the background left of a prompt.

    Args:
        prompt: without the announcement that all prompts share.
        taken: start and length of each stretch that went to the background.
        lead: that announcement.
    """
    owned = [True] * len(prompt)
    for start, length in taken:
        for index in range(start, start + length):
            owned[index] = False
    words = [
        replace(token, has_space_before=token.has_space_before or not owned[index - 1])
        for index, token in enumerate(prompt)
        if owned[index] and not _closes_gap(prompt, owned, index)
    ]
    words = _put_verb_last(_strip_connectives(words))
    return write_sentence([*(lead if _is_style(lead) else ()), *words])


def _separator(
    prompt: Sequence[Token], start: int, written: Sequence[Token], words: Sequence[Token]
) -> list[Token]:
    """Keep the mark before a segment; set a comma after a leading light: "At noon, in a meadow"."""
    mark = prompt[start - 1]
    if mark.key in BREAKS:
        return [mark]
    before, after = ({token.key for token in tokens} for tokens in (written, words))
    is_light_before_place = before & TIMES_AND_LIGHTS and not before & PLACES and after & PLACES
    return [_COMMA] if is_light_before_place else []


def _add_style(background: list[Token], lead: Sequence[Token]) -> list[Token]:
    """Turn "A painting of" and "in a meadow" into "A painting of a meadow"."""
    if not _is_style(lead):
        return background
    first = background[0]
    if first.key in _INNER:
        return [*lead, *background[1:]]
    if first.key in DETERMINERS:
        return [*lead, replace(first, text=first.key), *background[1:]]
    return [*lead[:-1], _COMMA, replace(first, text=first.key), *background[1:]]


def _is_style(lead: Sequence[Token]) -> bool:
    """Say whether an announcement tells how the picture is made; "A picture of" does not."""
    words = [token.key for token in lead[:-1] if token.key not in DETERMINERS]
    return bool(words) and words[0] != "there" and not (len(words) == 1 and words[0] in PLAIN_MEDIA)


def _closes_gap(prompt: Sequence[Token], owned: Sequence[bool], index: int) -> bool:
    """Say whether a token only tied the entity to the background: a comma, "from" before it."""
    if prompt[index].key in PREPOSITIONS:
        return index + 1 < len(prompt) and not owned[index + 1]
    if prompt[index].key not in BREAKS:
        return False
    neighbours = (index - 1, index + 1)
    return any(0 <= n < len(prompt) and not owned[n] for n in neighbours)


def _strip_connectives(words: list[Token]) -> list[Token]:
    """Drop what tied the entity to the background: "with an eagle", "where an eagle soars"."""
    loose = BREAKS | CONJUNCTIONS | PREPOSITIONS
    while words and words[0].key in loose:
        words = words[1:]
    if words and words[0].key == "there":
        words = words[max(find_media_lead(words), 1) :]
    while words and words[-1].key in loose | BE | DETERMINERS:
        words = words[:-1]
    return words


def _put_verb_last(words: list[Token]) -> list[Token]:
    """Turn "sits a tabby cat", as it stands after a place, into "a tabby cat sits"."""
    is_inverted = len(words) > 2 and words[1].key in DETERMINERS
    if not is_inverted or base_form(words[0].key) not in VERBS | {"be"}:
        return words
    closing = PREPOSITIONS | BREAKS | CONJUNCTIONS
    end = next((i for i in range(2, len(words)) if words[i].key in closing), len(words))
    verb = replace(words[0], text=words[0].key, has_space_before=True)
    return [*words[1:end], verb, *words[end:]]
