"""Is an answer a split of these prompts? Every rule is about texts alone: no model is asked."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations

from coupled_core.records import EditInstruction
from coupled_core.splitting.llm.question import RULES, Answer
from coupled_core.wording.comparison import content_words, is_among, missing_from, weigh_words
from coupled_core.wording.instruction_checks import are_same_instruction, find_instruction_problem
from coupled_core.wording.lexicon import ADJECTIVES, SCENE_WORDS
from coupled_core.wording.words import LOCATIVES, tokenise


def invisible_chars(text: str) -> set[str]:
    """Return the characters that no reader sees: joiners, direction marks, tags, private ones."""
    if text.isascii():
        return set()
    return {char for char in text if unicodedata.category(char) in ("Cf", "Co", "Cn", "Cs")}


_SCENERY = SCENE_WORDS | LOCATIVES | ADJECTIVES
_MAX_EXTRA_CHARS = 40
"""By which a background or an entity may be longer than the longest, or its own, prompt."""
_MAX_INSTRUCTION_CHARS = 300
_MIN_COVERED = 0.5
"""Share of a prompt's words that background and entity must carry."""
_MAX_FOREIGN_WORDS = 6.0
"""An edit instruction may say "make", "instead", "colour"; more is somebody else's message."""
_LEAK_WORDS = 6
"""So many words of our instruction in a row are no coincidence."""
_JOINERS = frozenset("\u200c\u200d")
"""Invisible, and part of Persian, of Indic scripts and of pictographs: where a prompt has them."""
_FOREIGN = re.compile(
    r"https?:|www\.|\w\.(?:com|net|org|io|ai|ru|cn|info|xyz|shop)\b|[{}<>`\x00-\x1f]|"
    r"\b(?:system prompt|edit_instruction|background_prompt|entity_prompts?|shares_background|"
    r"flag_reason)\b|"
    r"\b(?:ignore|disregard|forget)\b.{0,40}\binstructions?\b",
    re.IGNORECASE,
)
"""What no description of a picture contains."""


def find_problems(
    answer: Answer, prompts: Sequence[str], *, needs_instructions: bool = True
) -> list[str]:
    """Return what is wrong with an answer, in words that the model can act on; best: nothing.

    Only for answers that are not flagged and say that the prompts share a background.

    Args:
        needs_instructions: False: a split with bad instructions is better than none.
    """
    problems = [*_count_problems(answer, len(prompts))]
    # With other numbers of entities or pairs nothing further can be compared.
    if problems:
        return problems
    instructions = take_instructions(answer, prompts) if needs_instructions else {}
    return [
        *_text_problems(answer, prompts),
        *_background_problems(answer, prompts),
        *_entity_problems(answer, prompts),
        *(
            f"pair {min(i, j)}, {max(i, j)}: {'edit' if i < j else 'inverse'}_instruction "
            f"{instruction.missing}"
            for (i, j), instruction in instructions.items()
            if instruction.missing
        ),
    ]


def take_instructions(
    answer: Answer, prompts: Sequence[str]
) -> dict[tuple[int, int], EditInstruction]:
    """Return the instructions of an answer by (from, to), without those that are not trusted."""
    taken = {}
    for pair in answer.pairs:
        texts = pair.edit_instruction.strip(), pair.inverse_instruction.strip()
        for text, i, j in zip(
            texts, (pair.image_0, pair.image_1), (pair.image_1, pair.image_0), strict=True
        ):
            problem = _find_instruction_problem(text, i, j, answer, prompts)
            if problem is None and are_same_instruction(*texts):
                problem = "and the instruction of the other direction are the same"
            taken[i, j] = (
                EditInstruction(None, missing=problem)
                if problem
                else EditInstruction(text, "model")
            )
    return taken


def _find_instruction_problem(
    text: str, i: int, j: int, answer: Answer, prompts: Sequence[str]
) -> str | None:
    limit = max(_MAX_INSTRUCTION_CHARS, 2 * (max(map(len, prompts)) + _MAX_EXTRA_CHARS))
    if problem := next(_find_bad_text(text, limit, prompts), None):
        return problem
    entities = answer.entity_prompts
    if problem := find_instruction_problem(text, entities[i], entities[j], prompts):
        return problem
    both = {*content_words(prompts[i]), *content_words(prompts[j])}
    foreign = {word for word in content_words(text) if not is_among(word, both)}
    if weigh_words(foreign) > _MAX_FOREIGN_WORDS:
        return f"says more than what changes: {', '.join(sorted(foreign)[:12])}"
    return None


def _count_problems(answer: Answer, num_prompts: int) -> Iterator[str]:
    if len(answer.entity_prompts) != num_prompts:
        yield f"entity_prompts: expected {num_prompts}, got {len(answer.entity_prompts)}"
    expected = sorted(combinations(range(num_prompts), 2))
    got = sorted((pair.image_0, pair.image_1) for pair in answer.pairs)
    if got != expected:
        yield f"pairs: expected [image_0, image_1] = {[list(pair) for pair in expected]}, each once"


def _text_problems(answer: Answer, prompts: Sequence[str]) -> Iterator[str]:
    longest = max(map(len, prompts)) + _MAX_EXTRA_CHARS
    bounds = [("background_prompt", answer.background_prompt, longest)]
    for i, (entity, prompt) in enumerate(zip(answer.entity_prompts, prompts, strict=True)):
        bounds.append((f"entity_prompts[{i}]", entity, len(prompt) + _MAX_EXTRA_CHARS))
    for name, text, max_chars in bounds:
        for problem in _find_bad_text(text, max_chars, prompts):
            yield f"{name} {problem}"


def _find_bad_text(text: str, max_chars: int, prompts: Sequence[str]) -> Iterator[str]:
    if not content_words(text):
        yield "is empty"
    if len(text) > max_chars:
        yield f"has {len(text)} characters, expected at most {max_chars}"
    if _FOREIGN.search(text) or _leaks(text, prompts):
        yield "holds text that describes no picture"
    if invisible_chars(text) - _JOINERS.intersection(*prompts):
        yield "holds invisible characters"


def _background_problems(answer: Answer, prompts: Sequence[str]) -> Iterator[str]:
    sources = [content_words(prompt) for prompt in prompts]
    for word in dict.fromkeys(content_words(answer.background_prompt)):
        uses = sum(is_among(word, source) for source in sources)
        if uses == 0 or (uses < len(sources) and word not in _SCENERY):
            yield f"background_prompt: {word!r} is not in all prompts"
    background = Counter(content_words(answer.background_prompt))
    for i, (entity, source) in enumerate(zip(answer.entity_prompts, sources, strict=True)):
        # A word in both must stand twice in the prompt, or the background has taken it from the
        # entity.
        needed, there = background + Counter(content_words(entity)), Counter(source)
        for word in background:
            if word in content_words(entity) and needed[word] > max(there[word], 1):
                yield f"background_prompt: {word!r} belongs to entity_prompts[{i}]"


def _entity_problems(answer: Answer, prompts: Sequence[str]) -> Iterator[str]:
    background = content_words(answer.background_prompt)
    for i, (entity, prompt) in enumerate(zip(answer.entity_prompts, prompts, strict=True)):
        source = set(content_words(prompt))
        if foreign := missing_from(entity, source):
            yield f"entity_prompts[{i}]: {', '.join(map(repr, foreign))} not in its prompt"
        carried = {*background, *content_words(entity)}
        lost = [word for word in sorted(source) if not is_among(word, carried)]
        if weigh_words(lost) > (1 - _MIN_COVERED) * weigh_words(source):
            listed = ", ".join(map(repr, lost[:12]))
            yield f"neither background_prompt nor entity_prompts[{i}] says {listed}"
        own = _first_own_word(prompts, i)
        if own is not None and not is_among(own, carried):
            yield f"entity_prompts[{i}] leaves out {own!r}, with which its prompt begins to differ"
    for i, j in combinations(range(len(prompts)), 2):
        same = content_words(answer.entity_prompts[i]) == content_words(answer.entity_prompts[j])
        if same and content_words(prompts[i]) != content_words(prompts[j]):
            yield f"entity_prompts[{i}] and entity_prompts[{j}] say the same"


def _first_own_word(prompts: Sequence[str], index: int) -> str | None:
    """Return the first word with which a prompt differs from some other: it names the entity.

    Who answers with something else of the same prompt, such as what an order in it asks for, leaves
    that word out.
    """
    others = [content_words(prompt) for prompt in prompts if prompt != prompts[index]]
    for word in content_words(prompts[index]):
        if word not in _SCENERY and not all(is_among(word, other) for other in others):
            return word
    return None


def _leaks(text: str, prompts: Sequence[str]) -> bool:
    """Say whether a text repeats our instruction where no prompt happens to say the same."""
    runs = _runs_of(text) & _runs_of(RULES)
    return bool(runs) and not any(runs <= _runs_of(prompt) for prompt in prompts)


@lru_cache(maxsize=64)
def _runs_of(text: str) -> frozenset[tuple[str, ...]]:
    keys = tuple(token.key for token in tokenise(text) if token.key[0].isalnum())
    return frozenset(keys[at : at + _LEAK_WORDS] for at in range(len(keys) - _LEAK_WORDS + 1))
