"""What a prompt set says beyond its prompts, compared with them: splits and edit instructions."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from coupled_core.wording.comparison import are_forms, content_words, plain_words
from coupled_core.wording.instruction_checks import (
    are_same_instruction,
    find_bad_form,
    find_instruction_problem,
)
from coupled_core.wording.lexicon import MEDIA
from coupled_core.wording.phrases import noun_of

GivenInstructions = tuple[tuple[int, int, str], ...]
_ADVICE = "correct the split, or trust the splits of this set (--trust-splits)"

_INSTRUCTION_ADVICE = (
    "correct it, leave it out to have one written, or trust what this set says (--trust-splits)"
)


def find_split_problems(
    prompts: Sequence[str], background: str, entities: Sequence[str]
) -> Iterator[str]:
    """Yield what in a given split contradicts its prompts, with the words concerned."""
    words = [plain_words(prompt) for prompt in prompts]
    missing = [
        [word for word in _named(entity) if not _is_in(word, words[index])]
        for index, entity in enumerate(entities)
    ]
    everything = [word for prompt in words for word in prompt]
    # No word at all points to another language, which one sentence says better than one a group.
    if not any(_is_in(word, everything) for entity in entities for word in _named(entity)):
        yield (
            f"column entity_prompts: got {list(entities)!r}, of which no word is in the prompts; "
            f"{_ADVICE}, such as translated ones"
        )
        return
    for index, lost in enumerate(missing):
        if lost:
            yield _describe_missing(index, entities[index], lost, words)
    for (i, one), (j, other) in combinations(enumerate(entities), 2):
        if plain_words(one) == plain_words(other):
            yield (
                f"column entity_prompts: got {one!r} for prompts {i} and {j}; expected entities "
                "that differ"
            )
    # With entities that are not their prompts', nothing can be said about the background.
    if not any(missing):
        yield from _find_entity_in_background(words, background, entities)


def read_instructions(values: dict[str, Any]) -> GivenInstructions:
    """Return the instructions of a row as (from, to, text), from whichever columns hold them."""
    found = [
        (entry["from"], entry["to"], entry["instruction"])
        for entry in values.get("edit_instructions") or ()
        if entry is not None
    ]
    for column, i, j in (("edit_instruction", 0, 1), ("inverse_instruction", 1, 0)):
        if values.get(column) is not None:
            found.append((i, j, values[column]))
    return tuple(found)


def find_instruction_problems(values: dict[str, Any], *, trust_splits: bool) -> Iterator[str]:
    """Yield what is wrong with the instructions of a row whose prompts are in order."""
    prompts, num_prompts = values["prompts"], len(values["prompts"])
    entries = values.get("edit_instructions") or ()
    if any(entry is None or None in entry.values() for entry in entries):
        yield "column edit_instructions: got null in an entry, expected from, to and instruction"
        return
    for column in ("edit_instruction", "inverse_instruction"):
        if values.get(column) is not None and num_prompts > 2:
            yield (
                f"column {column}: got a text for a group of {num_prompts} prompts, expected "
                "edit_instructions, a list of {from, to, instruction}"
            )
            return
    seen: dict[tuple[int, int], str] = {}
    entities = values.get("entity_prompts") or prompts
    for i, j, text in read_instructions(values):
        name = f"instruction from image {i} to {j}"
        if not (0 <= i < num_prompts and 0 <= j < num_prompts and i != j):
            yield f"{name}: expected two different numbers from 0 to {num_prompts - 1}"
        elif (i, j) in seen:
            yield f"{name}: got more than one, expected one"
        elif problem := (
            next(find_bad_form(text, prompts), None)
            if trust_splits
            else find_instruction_problem(text, entities[i], entities[j], prompts)
        ):
            yield f"{name}: got {text!r}, which {problem}; {_INSTRUCTION_ADVICE}"
        elif are_same_instruction(text, seen.get((j, i), "")):
            yield f"{name}: got {text!r}, which the other direction says, too"
        seen.setdefault((i, j), text)


def _named(entity: str) -> list[str]:
    """Return the words of an entity that its prompt must have, but for "a photo of"."""
    named = [word for word in content_words(entity) if word not in MEDIA]
    return named or list(plain_words(entity))


def _is_in(word: str, words: Sequence[str]) -> bool:
    return any(are_forms(word, other) for other in words)


def _describe_missing(
    index: int, entity: str, lost: Sequence[str], words: Sequence[Sequence[str]]
) -> str:
    listed = ", ".join(map(repr, lost[:8]))
    elsewhere = [
        j for j in range(len(words)) if j != index and all(_is_in(w, words[j]) for w in lost)
    ]
    where = f"; prompt {elsewhere[0]} has it: are they in the same order?" if elsewhere else ""
    return (
        f"column entity_prompts[{index}]: got {entity!r}, but prompt {index} does not have "
        f"{listed}{where}; {_ADVICE}"
    )


def _find_entity_in_background(
    words: Sequence[Sequence[str]], background: str, entities: Sequence[str]
) -> Iterator[str]:
    said = content_words(background)
    for index, entity in enumerate(entities):
        for word in dict.fromkeys(_named(entity)):
            uses = sum(are_forms(word, other) for other in said)
            if not uses:
                continue
            is_shared = all(_is_in(word, prompt) for prompt in words)
            uses += sum(are_forms(word, other) for other in content_words(entity))
            # A word of both may stand twice in the prompt: "a brick house by a brick wall".
            has_too_few = uses > sum(are_forms(word, other) for other in words[index])
            if not is_shared or (has_too_few and word == noun_of(entity)):
                yield (
                    f"column background_prompt: got {background!r}, which names {word!r} of "
                    f"entity_prompts[{index}] ({entity!r}); {_ADVICE}"
                )
                return
    for index, prompt in enumerate(words):
        if said and not any(_is_in(word, prompt) for word in said):
            yield (
                f"column background_prompt: got {background!r}, of which no word is in prompt "
                f"{index}; {_ADVICE}"
            )
            return
