"""Is an answer a split of these prompts? Every rule is about texts alone: no model is asked."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import combinations

from coupled_core.splitting.llm.request import RULES, Answer
from coupled_core.wording.words import (
    ADJECTIVES,
    BE,
    CONJUNCTIONS,
    DETERMINERS,
    LOCATIVES,
    PREPOSITIONS,
    SCENE_WORDS,
    tokenise,
)

_FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | BE | {"there"}
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Kana, Han: scripts without spaces, of which every sign is a word."""
_MIN_STEM, _MAX_ENDING = 3, 4


@lru_cache(maxsize=512)  # the checks ask for the words of one group's texts again and again
def content_words(text: str) -> tuple[str, ...]:
    """Return the words of a text that carry meaning, without case, in order, repeated ones too.

    How a letter is encoded makes no difference: é in one or two parts, full width, a break or a
    joiner that nobody sees inside a word. A letter of another alphabet that looks alike does.
    """
    words: list[str] = []
    for token in tokenise(_plain(text)):
        key = token.key
        if _UNSPACED.search(key):
            words.extend(key)
        elif key[0].isalnum() and key not in _FUNCTION_WORDS:
            words.append(key.removesuffix("'s").removesuffix("’s"))
    return tuple(words)


def invisible_chars(text: str) -> set[str]:
    """Return the characters that no reader sees: joiners, direction marks, tags, private ones."""
    if text.isascii():
        return set()
    return {char for char in text if unicodedata.category(char) in ("Cf", "Co", "Cn", "Cs")}


def weigh_words(words: Collection[str]) -> float:
    """Return how many words there are; a sign of a script without spaces is half of one."""
    return sum(0.5 if _UNSPACED.search(word) else 1.0 for word in words)


def is_among(word: str, words: Collection[str]) -> bool:
    """Say whether a word, or another form of it (leap, leaping), is among others."""
    return word in words or any(_same_stem(word, other) for other in words)


def missing_from(text: str, source: Collection[str]) -> list[str]:
    """Return the content words of a text that do not come from a source's words."""
    return [word for word in dict.fromkeys(content_words(text)) if not is_among(word, source)]


def _plain(text: str) -> str:
    if text.isascii():
        return text
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", seen)


def _same_stem(word: str, other: str) -> bool:
    if word[:_MIN_STEM] != other[:_MIN_STEM] or min(len(word), len(other)) < _MIN_STEM:
        return False
    same = _MIN_STEM
    for a, b in zip(word[same:], other[same:], strict=False):
        if a != b:
            break
        same += 1
    return max(len(word), len(other)) - same <= _MAX_ENDING


_SCENERY = SCENE_WORDS | LOCATIVES | ADJECTIVES
_MAX_EXTRA_CHARS = 40
"""By which a background or an entity may be longer than the longest, or its own, prompt."""
_MAX_INSTRUCTION_CHARS = 300
_MIN_COVERED = 0.5
"""Share of a prompt's words that background and entity must carry."""
_MIN_OWN_WORDS = 0.25
"""Share of an edit instruction's words that must come from its two prompts; verbs fill the rest."""
_MAX_FOREIGN_WORDS = 6.0
"""Of an edit instruction: "make", "instead", "colour"; more is a message of somebody else's."""
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


def find_problems(answer: Answer, prompts: Sequence[str]) -> list[str]:
    """Return what is wrong with an answer, in words that the model can act on; best: nothing.

    Only for answers that are not flagged and say that the prompts share a background.
    """
    problems = [*_count_problems(answer, len(prompts))]
    if problems:
        return problems
    return [
        *_text_problems(answer, prompts),
        *_background_problems(answer, prompts),
        *_entity_problems(answer, prompts),
        *_pair_problems(answer, prompts),
    ]


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
    limit = max(_MAX_INSTRUCTION_CHARS, 2 * longest)
    for pair in answer.pairs:
        name = f"pair {pair.image_0}, {pair.image_1}"
        bounds.append((f"{name}: edit_instruction", pair.edit_instruction, limit))
        bounds.append((f"{name}: inverse_instruction", pair.inverse_instruction, limit))
    for name, text, max_chars in bounds:
        if not content_words(text):
            yield f"{name} is empty"
        if len(text) > max_chars:
            yield f"{name} has {len(text)} characters, expected at most {max_chars}"
        if _FOREIGN.search(text) or _leaks(text, prompts):
            yield f"{name} holds text that describes no picture"
        if invisible_chars(text) - _JOINERS.intersection(*prompts):
            yield f"{name} holds invisible characters"


def _background_problems(answer: Answer, prompts: Sequence[str]) -> Iterator[str]:
    sources = [content_words(prompt) for prompt in prompts]
    for word in dict.fromkeys(content_words(answer.background_prompt)):
        uses = sum(is_among(word, source) for source in sources)
        if uses == 0 or (uses < len(sources) and word not in _SCENERY):
            yield f"background_prompt: {word!r} is not in all prompts"
    background = Counter(content_words(answer.background_prompt))
    for i, (entity, source) in enumerate(zip(answer.entity_prompts, sources, strict=True)):
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


def _pair_problems(answer: Answer, prompts: Sequence[str]) -> Iterator[str]:
    for pair in answer.pairs:
        i, j = pair.image_0, pair.image_1
        both = {*content_words(prompts[i]), *content_words(prompts[j])}
        entities = {word for k in (i, j) for word in content_words(answer.entity_prompts[k])}
        for name in ("edit_instruction", "inverse_instruction"):
            words = set(content_words(getattr(pair, name)))
            own = {word for word in words if is_among(word, both)}
            if len(own) < _MIN_OWN_WORDS * len(words) or not any(
                is_among(word, entities) for word in own
            ):
                yield f"pair {i}, {j}: {name} does not say what changes between its two prompts"
            elif weigh_words(words - own) > _MAX_FOREIGN_WORDS:
                listed = ", ".join(sorted(words - own)[:12])
                yield f"pair {i}, {j}: {name} says more than what changes: {listed}"
        if pair.edit_instruction == pair.inverse_instruction:
            yield f"pair {i}, {j}: edit_instruction and inverse_instruction are the same"


def _leaks(text: str, prompts: Sequence[str]) -> bool:
    """Say whether a text repeats our instruction where no prompt happens to say the same."""
    runs = _runs_of(text) & _runs_of(RULES)
    return bool(runs) and not any(runs <= _runs_of(prompt) for prompt in prompts)


@lru_cache(maxsize=64)
def _runs_of(text: str) -> frozenset[tuple[str, ...]]:
    keys = tuple(token.key for token in tokenise(text) if token.key[0].isalnum())
    return frozenset(keys[at : at + _LEAK_WORDS] for at in range(len(keys) - _LEAK_WORDS + 1))
