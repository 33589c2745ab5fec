"""Edit instructions by rule: what to ask of an image editor to turn one image into another.

Where the rules are not certain of good English they write nothing, and say why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations

from coupled_core.records import EditInstruction
from coupled_core.wording.forms import singular_of
from coupled_core.wording.instruction_checks import are_same_instruction, find_instruction_problem
from coupled_core.wording.lexicon import ADJECTIVES, ALIKE, POSITIONS
from coupled_core.wording.phrases import EntityPhrase, Unreadable, parse_entity
from coupled_core.wording.words import ARTICLES, NUMBERS, tokenise

INSTRUCTIONS_VERSION = "2"
ENTITY_SWAP, APPEARANCE, POSE, POSITION = "entity_swap", "appearance", "pose", "position"
_BY_WEIGHT = (ENTITY_SWAP, APPEARANCE, POSE, POSITION)

Instructions = Mapping[tuple[int, int], EditInstruction]


def write_instructions(
    entity_prompts: Sequence[str], prompts: Sequence[str]
) -> tuple[Instructions, str]:
    """Return the instruction of every ordered pair (from, to), and the group's variation kind.

    The kind is the weightiest that some pair needs: entity_swap, appearance, pose, position.
    """
    phrases = [_parse(entity, prompts[index]) for index, entity in enumerate(entity_prompts)]
    instructions, kinds = {}, set()
    for i, j in permutations(range(len(phrases)), 2):
        before, after = phrases[i], phrases[j]
        if isinstance(before, EntityPhrase) and isinstance(after, EntityPhrase):
            kinds.add(find_variation_kind(before, after))
            text, why = _write_one(before, after)
            texts = (text, entity_prompts[i], entity_prompts[j])
            # The same checks as for a model's instructions: rules can err, too.
            if text and (problem := find_instruction_problem(*texts, prompts)):
                text, why = "", f"{text!r} {problem}"
        else:
            kinds.add(ENTITY_SWAP)
            text, why = "", next(p for p in (before, after) if isinstance(p, str))
        instructions[i, j] = (
            EditInstruction(text, "rule") if text else EditInstruction(None, missing=why)
        )
    return tell_directions_apart(instructions), next(k for k in _BY_WEIGHT if k in kinds)


def tell_directions_apart(instructions: Instructions) -> Instructions:
    """Take both instructions of a pair away where they ask for one and the same.

    What the prompt set says stays: it is checked where the set is read.
    """
    kept = dict(instructions)
    for (i, j), one in instructions.items():
        other = instructions[j, i]
        is_same = one.text and other.text and are_same_instruction(one.text, other.text)
        if is_same and one.source != "given":
            kept[i, j] = EditInstruction(None, missing=f"both directions say {one.text!r}")
    return kept


def find_variation_kind(before: EntityPhrase, after: EntityPhrase) -> str:
    """Say what changes between two entities; another number of them is a swap."""
    if (before.core, before.article) == (after.core, after.article):
        if before.attachment != after.attachment:
            return APPEARANCE
        return POSITION if before.predicate == after.predicate else POSE
    # The core is the noun and its adjectives; of one head, only the latter may differ.
    is_one = {before.article, after.article} <= {"a", "an", "the"}
    if is_one and before.head == after.head and set(before.core) ^ set(after.core) <= ADJECTIVES:
        return APPEARANCE
    return ENTITY_SWAP


def _parse(entity_prompt: str, prompt: str) -> EntityPhrase | str:
    """Read an entity; one without an article ("red kite") gets the one of its prompt."""
    try:
        return parse_entity(f"{_find_article(entity_prompt, prompt)} {entity_prompt}")
    except Unreadable as why:
        return f"the rules, which know plain English only, cannot read {entity_prompt!r}: {why}"


def _find_article(entity_prompt: str, prompt: str) -> str:
    """Return the article before an entity's words in its prompt; empty: there is none."""
    words = [token.key for token in tokenise(entity_prompt) if token.is_word]
    said = [token.key for token in tokenise(prompt)]
    for start in range(1, len(said) - len(words) + 1):
        if said[start : start + len(words)] == words and said[start - 1] in {*ARTICLES, *NUMBERS}:
            return said[start - 1]
    return ""


def _write_one(before: EntityPhrase, after: EntityPhrase) -> tuple[str, str]:
    """Return an instruction, or an empty text and why there is none."""
    if _singular_core(before) == _singular_core(after) and before.article != after.article:
        return _write_count(before, after)
    if before.core != after.core:
        if _name_each_other(before, after):
            return "", "each of the two is named with what the other one does"
        return _write_appearance(before, after) or _write_swap(before, after), ""
    if before.article not in ("a", "an", "the", "one") and before.article != after.article:
        return "", "the rules cannot name how many there are"
    if before.attachment != after.attachment:
        return _write_attachment(before, after)
    return _write_pose(before, after)


def _singular_core(phrase: EntityPhrase) -> tuple[str, ...]:
    return tuple(singular_of(word) if word == phrase.head else word for word in phrase.core)


def _write_count(before: EntityPhrase, after: EntityPhrase) -> tuple[str, str]:
    numbers = [_number(phrase) for phrase in (before, after)]
    if not all(numbers) or numbers[0] == numbers[1]:
        return "", "the rules cannot name how many there are"
    if _details(before) != _details(after):
        return "", "more changes than how many there are"
    return f"Show {numbers[1]} {after.name} instead of {numbers[0]}.", ""


def _number(phrase: EntityPhrase) -> str:
    if phrase.article in ("a", "an"):
        return "one"
    return phrase.article if phrase.article in NUMBERS else ""


def _write_appearance(before: EntityPhrase, after: EntityPhrase) -> str:
    """Name the one adjective in which two noun phrases differ; empty: they differ otherwise."""
    if len(before.core) != len(after.core) or _details(before) != _details(after):
        return ""
    if before.article != after.article and before.article not in ("a", "an"):
        return ""
    changed = [(a, b) for a, b in zip(before.core, after.core, strict=True) if a != b]
    rest = [word for word in after.core if word not in changed[0]]
    # One adjective, the first word: "a red old kite" could also read as two changes.
    is_first = len(changed) == 1 and after.core[0] not in rest
    if (
        not is_first
        or ADJECTIVES.intersection(rest)
        # Two colours, two sizes: "red" does not stand instead of "large".
        or not any(set(changed[0]) <= g for g in ALIKE)
    ):
        return ""
    old, new = changed[0]
    return f"Make the {' '.join([*rest, after.attachment]).strip()} {new} instead of {old}."


def _write_swap(before: EntityPhrase, after: EntityPhrase) -> str:
    coming = [f"{after.article} {after.name}".strip()]
    if (after.predicate, after.place) != (before.predicate, before.place):
        coming += [after.predicate, after.place]
    # What both wear is not what changes, and need not be named.
    is_alike = before.attachment == after.attachment
    going = _definite(replace(before, attachment="") if is_alike else before)
    shown = " ".join(filter(None, coming))
    # "Replace the man with a hat with a dog" reads in two ways.
    if " with " in going:
        return f"Show {shown} instead of {going}."
    return f"Replace {going} with {shown}."


def _write_attachment(before: EntityPhrase, after: EntityPhrase) -> tuple[str, str]:
    if (before.predicate, before.place) != (after.predicate, after.place):
        return "", "more changes than what is worn"
    if not after.attachment:
        return "", f"the rules cannot take {before.attachment!r} away"
    core = " ".join(after.core)
    if not before.attachment:
        return f"Show the {core} {after.attachment}.", ""
    # "in a red hat" and "in a blue hat": the preposition is said once.
    preposition, _, old = before.attachment.partition(" ")
    same = after.attachment.startswith(f"{preposition} ")
    return (
        f"Show the {core} {after.attachment} instead of {old if same else before.attachment}.",
        "",
    )


def _write_pose(before: EntityPhrase, after: EntityPhrase) -> tuple[str, str]:
    thing = _definite(before)
    old, new = (f"{p.predicate} {p.place}".strip() for p in (before, after))
    if old and new and all(_is_position(phrase) for phrase in (before, after)):
        old, new = (phrase.place.partition(" ")[2] for phrase in (before, after))
        return f"Move {thing} from {old} to {new}.", ""
    if not new:
        return "", f"the rules cannot say what comes when {old!r} goes"
    return (f"Show {thing} {new} instead of {old}." if old else f"Show {thing} {new}."), ""


def _name_each_other(before: EntityPhrase, after: EntityPhrase) -> bool:
    """Say whether "a knight fighting a dragon" stands against "a dragon fighting a knight"."""
    return any(
        singular_of(one.head) in {singular_of(word) for word in " ".join(_details(other)).split()}
        for one, other in ((before, after), (after, before))
    )


def _details(phrase: EntityPhrase) -> tuple[str, str, str]:
    return phrase.attachment, phrase.predicate, phrase.place


def _definite(phrase: EntityPhrase) -> str:
    """Return "the eagle", "the two foxes": what can be seen in the image to be edited."""
    number = phrase.article if phrase.is_plural and phrase.article in NUMBERS else ""
    return " ".join(f"the {number} {phrase.name}".split())


def _is_position(phrase: EntityPhrase) -> bool:
    """Say whether a phrase has nothing but a part of the frame behind it: "on the left"."""
    words = {token.key for token in tokenise(phrase.place)}
    return not phrase.predicate and len(words) == 3 and bool(words & POSITIONS)
