"""The splitter that needs no key and no network: it splits what is plainly worded, or refuses."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from coupled_core.config import hash_canonical, quote
from coupled_core.records import GroupSplit, PromptGroup, Rejection, RejectReason, SplitOutcome
from coupled_core.splitting.instructions import INSTRUCTIONS_VERSION, write_instructions
from coupled_core.splitting.scenes import Segment, parse_scene, read_scene_noun, write_background
from coupled_core.wording.forms import participle_of, singular_of
from coupled_core.wording.lexicon import INTERIORS, LANDSCAPES, LIGHTS, LOOKING
from coupled_core.wording.phrases import EntityPhrase, Unreadable, parse_subject
from coupled_core.wording.words import (
    ARTICLES,
    BE,
    LOCATIVES,
    NUMBERS,
    PRONOUNS,
    Token,
    tokenise,
    write_sentence,
)

GRAMMAR_VERSION = "3"
PROMPT_VERSION = f"grammar-{GRAMMAR_VERSION}+instructions-{INSTRUCTIONS_VERSION}"
ADVICE = "give background_prompt and entity_prompts with the group, or split with a language model"
_QUOTE = re.compile(r"[\"“”„«»‹›]|(?<!\w)['‘’]|['’](?!\w)")
_MARKUP = re.compile(r"--|[^\w\s,.!?;:'’\"“”„«»‹›\-—–]|_")
_SENTENCE_MARK = re.compile(r"[.!?;:—–\n]")
_PLAIN_MEDIA = frozenset({"photo", "photograph", "picture", "image"})
_OWN_PLACES = LANDSCAPES | INTERIORS | LIGHTS | {"wall", "walls", "floor", "ground", "ceiling"}
"""What is a scene of its own: no entity in front of one."""
_ALSO_THINGS = frozenset(
    {"square", "ring", "court", "track", "tracks", "pitch", "corner", "bank", "banks", "moon",
     "planet", "stop", "pool", "path", "trail", "puddle", "mud", "dirt", "sand", "snow", "grass",
     "water", "mine", "port", "peak", "wood", "world", "locker", "cell", "closet", "slope"}
)  # fmt: skip
"""Places that may also be a shape or a thing, which could have the entity on it."""
_DIRECTIONS = frozenset(
    {"at", "to", "into", "onto", "out", "over", "up", "down", "through", "across", "toward",
     "towards", "off", "past"}
)  # fmt: skip
_SKIES = frozenset({"sky", "skies", "stars", "clouds"})
"""A scene where no place is named."""
_MAX_CAPITALS = 0.5
"""Share of a prompt's words, after the first, that may begin with a capital."""


class OfflineSplitter:
    """Splits what follows one pattern: an entity, what it does, and a scene in equal words.

    Each prompt is read by a small grammar; a word that it does not know where it stands, or scenes
    that are not worded alike, reject the group. Nothing is guessed.
    """

    identity = f"offline/{PROMPT_VERSION}"

    def request_sha256(self, group: PromptGroup) -> str:
        """Return the hash of everything that a split of this group depends on."""
        kind = "null" if group.variation_kind is None else quote(group.variation_kind)
        prompts = ",".join(map(quote, group.prompts))
        return hash_canonical(
            f'{{"prompts":[{prompts}],"splitter":{quote(self.identity)},"variation_kind":{kind}}}'
        )

    def split(self, groups: Sequence[PromptGroup]) -> list[SplitOutcome]:
        """Return a split or a rejection for each group, in order."""
        return [self._split_group(group) for group in groups]

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Do nothing: a group is split in no time."""

    def _split_group(self, group: PromptGroup) -> SplitOutcome:
        try:
            background_prompt, entity_prompts = separate(group.prompts)
        except Unreadable as why:
            return Rejection(RejectReason.SPLIT_FAILED, f"cannot be split offline: {why}; {ADVICE}")
        edit_instructions, kind = write_instructions(entity_prompts, group.prompts)
        return GroupSplit(
            background_prompt=background_prompt,
            entity_prompts=entity_prompts,
            edit_instructions=edit_instructions,
            variation_kind=group.variation_kind or kind,
            source="offline",
            request_sha256=self.request_sha256(group),
            prompt_version=PROMPT_VERSION,
        )


def separate(prompts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the background prompt and one entity prompt for each prompt.

    Raises:
        Unreadable: there are none, or they are not certain.
    """
    readings = [_read(prompt, index) for index, prompt in enumerate(prompts)]
    common = _find_common(readings)
    background = write_background(
        [segment for segment in readings[0].scene if segment.keys in common],
        sum(segment.keys in common for segment in readings[0].before),
    )
    entities = tuple(
        _write_entity(reading, index, common) for index, reading in enumerate(readings)
    )
    _check_entities(readings, entities, background)
    return background, entities


@dataclass(frozen=True)
class _Reading:
    """A prompt as it was read."""

    entity: tuple[Token, ...]
    phrase: EntityPhrase
    before: tuple[Segment, ...]
    """The scene that leads the prompt."""
    after: tuple[Segment, ...]
    """What follows the entity: where it is, then the scene."""

    @property
    def scene(self) -> tuple[Segment, ...]:
        """All phrases of place and light, in order."""
        return (*self.before, *self.after)


def _read(prompt: str, index: int) -> _Reading:
    try:
        _check_plain(prompt)
        tokens = tokenise(prompt)
        if tokens[-1].key == ".":
            tokens.pop()
        return _read_tokens(_skip_announcement(tokens))
    except Unreadable as why:
        raise Unreadable(f"prompt {index} has {why}") from None


def _check_plain(prompt: str) -> None:
    text = prompt.strip().removesuffix(".")
    for pattern, what in (
        (_QUOTE, "the quotation mark"), (_MARKUP, "the sign"), (_SENTENCE_MARK, "the mark"),
    ):  # fmt: skip
        if found := pattern.search(text):
            raise Unreadable(f"{what} {found.group()!r}")
    words = [token for token in tokenise(text) if token.is_word]
    if not words:
        raise Unreadable("no words")
    for word in words:
        if word.key in PRONOUNS - {"there"}:
            raise Unreadable(f"{word.key!r}, which may stand for anything")
    capitals = [word for word in words[1:] if word.text[0].isupper()]
    if len(capitals) > _MAX_CAPITALS * len(words):
        raise Unreadable("words in capitals, which hide what is a name")


def _skip_announcement(tokens: list[Token]) -> list[Token]:
    """Drop "a photo of", which all pictures are, and "there is"."""
    keys = [token.key for token in tokens]
    start = 1 if keys[0] in ARTICLES else 0
    if keys[start : start + 1] and keys[start] in _PLAIN_MEDIA and keys[start + 1 :][:1] == ["of"]:
        tokens, keys = tokens[start + 2 :], keys[start + 2 :]
    if keys[:1] == ["there"] and keys[1:2] and keys[1] in BE:
        return tokens[2:]
    return tokens


def _read_tokens(tokens: Sequence[Token]) -> _Reading:
    if not tokens:
        raise Unreadable("no words")
    if tokens[0].key in LOCATIVES:
        return _read_after_scene(tokens)
    try:
        return _read_entity(tokens, ())
    except Unreadable as why:
        reading = _read_scene_with(tokens)
        if reading is None:
            raise why from None
        return reading


def _read_after_scene(tokens: Sequence[Token]) -> _Reading:
    """Read "In a meadow at noon, a fox runs"; the comma may be missing before an article."""
    problem = Unreadable("no entity after the scene that it begins with")
    # Each comma or article may be where the entity begins; the first cut that can be read counts.
    for index in range(1, len(tokens)):
        key = tokens[index].key
        is_start = key in ARTICLES or key in NUMBERS
        if key != "," and not (is_start and tokens[index - 1].key not in LOCATIVES | {"of", ","}):
            continue
        rest = tokens[index + (key == ",") :]
        try:
            before = parse_scene(tokens[:index])
            return _read_entity(_skip_announcement(list(rest)) if rest else rest, before)
        except Unreadable as why:
            problem = why
    raise problem


def _read_scene_with(tokens: Sequence[Token]) -> _Reading | None:
    """Read "A green valley with a castle at dawn"; None: it is not of that form."""
    try:
        end = read_scene_noun(tokens)
    except Unreadable:
        return None
    is_scene = tokens[end - 1].key in (LANDSCAPES | INTERIORS) - _ALSO_THINGS
    if not is_scene or end + 1 >= len(tokens) or tokens[end].key != "with":
        return None
    place = Segment(tuple(tokens[:end]), "place", follows_comma=False)
    return _read_entity(tokens[end + 1 :], (place,))


def _read_entity(tokens: Sequence[Token], before: Sequence[Segment]) -> _Reading:
    if not tokens:
        raise Unreadable("no entity after its scene")
    phrase, end = parse_subject(tokens)
    if phrase.head.casefold() in _OWN_PLACES:
        raise Unreadable(f"{phrase.head!r}, a scene of its own, in the place of an entity")
    after = parse_scene(tokens[end:])
    if all(any(segment.names_place for segment in part) for part in (before, after)):
        raise Unreadable("one place before its entity and another one after it")
    verb = phrase.predicate.partition(" ")[0]
    if after and verb in _LOOKING and after[0].keys[0] in _DIRECTIONS:
        raise Unreadable(f"'{verb} {after[0].keys[0]}', which leads to no place of its own")
    return _Reading(tuple(tokens[:end]), phrase, tuple(before), tuple(after))


_LOOKING = frozenset(participle_of(verb) or verb for verb in LOOKING)


def _find_common(readings: Sequence[_Reading]) -> set[tuple[str, ...]]:
    """Return the phrases that every prompt has; where on the frame an entity is, is its own."""
    found = [{s.keys for s in reading.scene if s.kind != "position"} for reading in readings]
    common = set.intersection(*found)
    is_placed = any(
        segment.names_place or _SKIES & set(segment.keys)
        for segment in readings[0].scene
        if segment.keys in common
    )
    if not is_placed:
        raise Unreadable(
            "the prompts name no place in the same words"
            + (f", only {' '.join(min(common))!r}" if common else "")
        )
    return common


def _write_entity(reading: _Reading, index: int, common: set[tuple[str, ...]]) -> str:
    """Write the entity with what only its prompt says of where it is: "on a branch"."""
    own = [segment for segment in reading.scene if segment.keys not in common]
    # Right behind the entity: further off it may belong to the scene.
    is_close = list(reading.after[: len(own)]) == own
    other = next((s for s in own if s.kind not in ("surface", "position") or s.follows_comma), None)
    if other is not None or not is_close:
        text = " ".join((other or own[0]).keys)
        raise Unreadable(f"prompt {index} has {text!r}, which not all prompts have")
    words = [*reading.entity, *(token for segment in own for token in segment.tokens)]
    return write_sentence(words)


def _check_entities(readings: Sequence[_Reading], entities: Sequence[str], background: str) -> None:
    if len({entity.casefold() for entity in entities}) < len(entities):
        raise Unreadable(f"two prompts have the same entity {entities[0]!r}")
    words = {singular_of(token.key) for token in tokenise(background)}
    for index, reading in enumerate(readings):
        if singular_of(reading.phrase.head) in words:
            raise Unreadable(
                f"prompt {index} has {reading.phrase.head!r} both as its entity and in the scene"
            )
