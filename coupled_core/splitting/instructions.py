"""Edit instructions: what to ask of an image editor to turn one image of a group into another."""

from collections.abc import Mapping, Sequence
from itertools import permutations

from coupled_core.splitting.phrases import EntityPhrase, base_form, parse_entity
from coupled_core.splitting.words import ADJECTIVES, DETERMINERS, POSITIONS, tokenise

INSTRUCTIONS_VERSION = "1"
ENTITY_SWAP, APPEARANCE, POSE, POSITION = "entity_swap", "appearance", "pose", "position"
_BY_WEIGHT = (ENTITY_SWAP, APPEARANCE, POSE, POSITION)
_INDEFINITE = frozenset({"a", "an", "one", "another", "some", "several", "many"})
_COUNTS = frozenset({"two", "three", "four", "five", "six"})
_DEFINITE = DETERMINERS - _INDEFINITE - _COUNTS


def write_instructions(
    entity_prompts: Sequence[str],
) -> tuple[Mapping[tuple[int, int], str], str]:
    """Return the instruction of every ordered pair (from, to), and the group's variation kind.

    The kind is the weightiest that some pair needs: entity_swap, appearance, pose, position.
    """
    phrases = [parse_entity(prompt) for prompt in entity_prompts]
    instructions, kinds = {}, set()
    for i, j in permutations(range(len(phrases)), 2):
        kind = find_variation_kind(phrases[i], phrases[j])
        instructions[i, j] = _write_one(phrases[i], phrases[j], kind)
        kinds.add(kind)
    return instructions, next(kind for kind in _BY_WEIGHT if kind in kinds)


def find_variation_kind(before: EntityPhrase, after: EntityPhrase) -> str:
    """Say what changes between two entities."""
    if before.core == after.core:
        if before.attachment != after.attachment:
            return POSITION if _is_placed(before) and _is_placed(after) else APPEARANCE
        if _is_position(before.predicate) and _is_position(after.predicate):
            return POSITION
        return POSE
    if before.head == after.head and set(before.core) ^ set(after.core) <= ADJECTIVES:
        return APPEARANCE
    return ENTITY_SWAP


def _write_one(before: EntityPhrase, after: EntityPhrase, kind: str) -> str:
    thing = before.name if before.is_name else f"the {before.name}"
    adjectives = _changed_adjectives(before, after)
    if adjectives is not None:
        return f"Make the {before.head} {adjectives[1]} instead of {adjectives[0]}."
    if before.core != after.core:
        return f"Replace {_definite(before)} with {_indefinite(after)}."
    if before.attachment != after.attachment:
        verb = "Place" if kind == POSITION else "Show"
        return (
            f"{verb} the {' '.join(before.core)} {_instead(before.attachment, after.attachment)}."
        )
    if kind == POSITION:
        return f"Place {thing} so that it {_instead(before.predicate, after.predicate)}."
    return _write_pose(thing, before.predicate, after.predicate)


def _instead(before: str, after: str) -> str:
    if not after:
        return f"no longer {before}"
    return f"{after} instead of {before}" if before else after


def _write_pose(thing: str, before: str, after: str) -> str:
    old, new = _infinitive(before), _infinitive(after)
    if not new:
        return f"Make {thing} no longer {old}." if old else f"Show {thing} as it is."
    if any(text.partition(" ")[0].endswith("ing") for text in (old, new)):
        return f"Change {thing} from {before} to {after}." if old else f"Show {thing} {after}."
    return f"Make {thing} {new} instead of {old}." if old else f"Make {thing} {new}."


def _infinitive(predicate: str) -> str:
    first, _, rest = predicate.partition(" ")
    return f"{base_form(first.lower())} {rest}".strip()


def _changed_adjectives(before: EntityPhrase, after: EntityPhrase) -> tuple[str, str] | None:
    """Return (old, new) where two noun phrases differ in exactly one adjective of the same noun."""
    if len(before.core) != len(after.core) or before.head != after.head:
        return None
    if before.attachment != after.attachment:
        return None
    changed = [(a, b) for a, b in zip(before.core, after.core, strict=True) if a != b]
    if len(changed) == 1 and {word.lower() for word in changed[0]} <= ADJECTIVES:
        return changed[0]
    return None


def _is_placed(phrase: EntityPhrase) -> bool:
    return _is_position(phrase.attachment)


def _is_position(text: str) -> bool:
    return any(token.key in POSITIONS for token in tokenise(text))


def _definite(phrase: EntityPhrase) -> str:
    """Return "the eagle", "the two foxes": what can be seen in the image to be edited."""
    if phrase.is_name:
        return phrase.name
    if phrase.article in _DEFINITE:
        return f"{phrase.article} {phrase.name}"
    count = phrase.article if phrase.article in _COUNTS else ""
    return " ".join(f"the {count} {phrase.name}".split())


def _indefinite(phrase: EntityPhrase) -> str:
    return f"{phrase.article} {phrase.name}".strip()
