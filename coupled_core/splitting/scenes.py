"""The scene of a prompt: phrases of place, light and style, each with a noun that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coupled_core.wording.lexicon import (
    ENTERED,
    LIGHTS,
    PLACES,
    POSITIONS,
    SCENE_PARTICIPLES,
    SCENERY,
    STYLES,
    SURFACES,
    TIMES,
    WEARABLES,
)
from coupled_core.wording.phrases import Unreadable, unexpected
from coupled_core.wording.words import (
    ADVERBS,
    ARTICLES,
    AUXILIARIES,
    FUNCTION_WORDS,
    LOCATIVES,
    NUMBERS,
    Token,
    write_sentence,
)

SegmentKind = Literal["place", "surface", "light", "position", "detail"]
_LEADS = (
    ("in", "front", "of"), ("on", "top", "of"), ("at", "top", "of"), ("next", "to"),
    ("close", "to"), ("in", "between"), ("out", "of"), ("inside", "of"), ("outside", "of"),
)  # fmt: skip
_LED_BY: dict[str, frozenset[str]] = {
    "at": TIMES | {"hour", "tide"},
    "on": frozenset({"day", "morning", "afternoon", "evening", "night"}),
    "by": frozenset({"moonlight", "candlelight", "lamplight", "firelight", "starlight", "night"}),
}
"""Prepositions that go with few nouns of time and light: a wolf howls "at the moon"."""
_PATHS = frozenset(
    {"over", "above", "across", "along", "through", "down", "up", "past", "around", "toward",
     "towards"}
)  # fmt: skip
_LEADING_AWAY = frozenset({"off", "into", "onto", "toward", "towards"})
"""Prepositions that say where something goes, which is what it does, not where it is."""
_INNER = frozenset({"in", "inside", "inside of", "within"})
_MAX_WORDS = 6
"""A noun and what stands before it; more words are several phrases without a mark."""
_COMMA = Token(",", has_space_before=False)


@dataclass(frozen=True)
class Segment:
    """One phrase of a scene."""

    tokens: tuple[Token, ...]
    """Without a comma before it."""
    kind: SegmentKind
    follows_comma: bool

    @property
    def keys(self) -> tuple[str, ...]:
        """What is compared."""
        return tuple(token.key for token in self.tokens)

    @property
    def names_place(self) -> bool:
        """It says where something is, not only when or in which light."""
        return self.kind in ("place", "surface")


def parse_scene(tokens: Sequence[Token]) -> list[Segment]:
    """Cut tokens into phrases of a scene.

    Raises:
        Unreadable: one of them is not known to be about a scene.
    """
    reader = _Reader(tokens)
    segments: list[Segment] = []
    while reader.at < len(tokens):
        follows_comma = reader.skip(",")
        start = reader.at
        kind = reader.read_phrase(follows_comma, has_place=bool(segments))
        segments.append(Segment(tuple(tokens[start : reader.at]), kind, follows_comma))
    return segments


def read_scene_noun(tokens: Sequence[Token]) -> int:
    """Return where a noun phrase of a place, which tokens begin with, ends.

    Raises:
        Unreadable: they do not begin with one.
    """
    reader = _Reader(tokens)
    if reader.read_nouns(PLACES) != "place":
        raise Unreadable(f"{tokens[0].text!r}, which begins no place")
    return reader.at


def write_background(segments: Sequence[Segment], num_leading: int) -> str:
    """Join the phrases of a scene to one sentence.

    Args:
        segments: As they stand in the first prompt.
        num_leading: How many of them stand before the entity there.
    """
    written: list[Token] = []
    leading = segments[: num_leading + 1]
    path = next((s for s in leading if s.kind == "place" and s.keys[0] in _PATHS), None)
    if path is not None:  # "At night, over a beach" becomes "A beach at night"
        segments, num_leading = [path, *(s for s in segments if s is not path)], 0
    for number, segment in enumerate(segments):
        words = list(segment.tokens)
        if segment is path:
            words = words[1:]  # "over a beach" is where a kite flies; the scene is a beach
        elif (number and segment.follows_comma) or (
            number == num_leading and _needs_comma(segments, number)
        ):
            written.append(_COMMA)
        # A preposition may have begun its prompt with a capital.
        first = words[0].key if words[0].key in LOCATIVES else words[0].text
        written.append(Token(first, has_space_before=True))
        written += words[1:]
    return write_sentence(written)


def _needs_comma(segments: Sequence[Segment], number: int) -> bool:
    """Say whether a leading light stands before a place: "At noon, in a meadow"."""
    before, after = segments[:number], segments[number:]
    is_light = bool(before) and all(segment.kind == "light" for segment in before)
    return is_light and any(segment.names_place for segment in after)


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self.at = 0

    def skip(self, *keys: str) -> bool:
        """Step over these words if they come next."""
        ahead = tuple(token.key for token in self._tokens[self.at : self.at + len(keys)])
        if ahead != keys:
            return False
        self.at += len(keys)
        return True

    def read_phrase(self, follows_comma: bool, has_place: bool) -> SegmentKind:
        lead = self._read_lead()
        if lead:
            kind = self._read_place(lead)
        elif has_place and self._key() == "with":
            self.at += 1
            kind = self._read_detail()
        elif has_place and self._key() in SCENE_PARTICIPLES:
            self.at += 1
            if not any(self.skip(key) for key in ("in", "by", "with")):
                raise self._unexpected()
            kind = self._read_detail()
        elif follows_comma:
            kind = self.read_nouns(LIGHTS | STYLES, kind="light")
            if self.skip("through"):
                self.read_nouns(SCENERY | SURFACES)
        else:
            raise self._unexpected()
        return kind

    def _read_lead(self) -> str:
        """Step over a preposition of place and return it; empty: there is none."""
        for lead in _LEADS:
            if self.skip(*lead):
                return " ".join(lead)
        key = self._key()
        if key not in LOCATIVES - _LEADING_AWAY:
            return ""
        self.at += 1
        return key

    def _read_place(self, lead: str) -> SegmentKind:
        if (kind := self._read_position()) is not None:
            return kind
        surfaces = SURFACES
        if lead in _PATHS - {"above"}:  # over a gate, around a tree: that is what something does
            surfaces = frozenset()
        elif lead in _INNER:
            surfaces = ENTERED
        return self.read_nouns(PLACES | surfaces | _LED_BY.get(lead, LIGHTS))

    def _read_position(self) -> SegmentKind | None:
        """Read "the middle of a field", or "the left" alone."""
        start = self.at
        self.skip("the")
        first = self.at
        while self._key() in POSITIONS or (self.at > first and self._key() == "side"):
            self.at += 1
        is_position = self.at > first and (self._is_at_end() or self._key() in LOCATIVES)
        if self.at > first and self.skip("of"):
            return self.read_nouns(PLACES | SURFACES | LIGHTS)
        if is_position:
            return "position"
        # Nothing was read: back, for whoever tries next.
        self.at = start
        return None

    def _read_detail(self) -> SegmentKind:
        self.read_nouns(SCENERY | LIGHTS | PLACES)
        self.skip("in", "the", "background")
        self.skip("in", "the", "distance")
        return "detail"

    def read_nouns(self, known: frozenset[str], kind: SegmentKind | None = None) -> SegmentKind:
        """Read "a field of flowers", "trees and rocks"; what comes first says what they are."""
        head = self._read_noun(known)
        while self._key() in ("of", "and"):
            self.at += 1
            self._read_noun(PLACES | SURFACES | LIGHTS | SCENERY | STYLES)
        return kind or _kind_of(head)

    def _read_noun(self, known: frozenset[str]) -> str:
        if self._key() in ARTICLES or self._key() in NUMBERS:
            self.at += 1
        start = self.at
        # The noun is the last word of its phrase; adjectives before it are not looked up.
        while not self._is_at_end() and self._key() not in FUNCTION_WORDS:
            if self._key() in ADVERBS | AUXILIARIES or self._is_participle(start):
                break
            self.at += 1
        if self.at == start:
            raise self._unexpected()
        words = [token.key for token in self._tokens[start : self.at]]
        if len(words) > _MAX_WORDS or words[-1] not in known or words[-1] in WEARABLES:
            shown = " ".join(words[:_MAX_WORDS])
            raise Unreadable(f"{shown!r}, which is not known as part of a scene there")
        return words[-1]

    def _unexpected(self) -> Unreadable:
        return unexpected(self._key())

    def _is_participle(self, start: int) -> bool:
        return self.at > start and self._key() in SCENE_PARTICIPLES and self._key(1) in (
            "in", "by", "with",
        )  # fmt: skip

    def _is_at_end(self) -> bool:
        return self.at == len(self._tokens) or not self._tokens[self.at].is_word

    def _key(self, ahead: int = 0) -> str:
        index = self.at + ahead
        return self._tokens[index].key if index < len(self._tokens) else ""


def _kind_of(noun: str) -> SegmentKind:
    if noun in PLACES:
        return "place"
    return "light" if noun in LIGHTS else "surface"
