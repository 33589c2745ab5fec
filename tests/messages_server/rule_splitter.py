"""The "model" behind the server: what all prompts begin or end with, or share, is the background.

It shares no code with the package's own offline splitter, so one cannot hide the other's mistakes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\s\u3040-\u30ff\u4e00-\u9fff]+")
_SCENE_START = re.compile(
    "in|on|at|under|by|near|beside|above|inside|across|along|against|among|around|behind|between"
    "|auf|im|am|unter|bei|dans|sur|sous|au|en|sobre|bajo|在"
)
_EDGES = " ,;.!?、。"


@dataclass(frozen=True)
class Split:
    """What a well-behaved model answers."""

    background: str
    """Empty where the prompts share nothing."""
    entities: tuple[str, ...]

    def edit(self, i: int, j: int) -> str:
        """Return the instruction that turns image i into image j: correct, whatever they are."""
        before, after = (_as_object(self.entities[index]) for index in (i, j))
        return f"Let it be that {after} rather than that {before}."


def split_prompts(prompts: Sequence[str]) -> Split:
    """Split by the words that all prompts begin or end with."""
    words = [_WORD.findall(prompt) for prompt in prompts]
    keys = [[word.strip(_EDGES).casefold() for word in prompt] for prompt in words]
    head = _common_head(keys)
    if not any("," in word for word in words[0][:head][-1:]) and not _opens_scene(keys[0], head):
        head = 0
    tail = _common_head([prompt[head:][::-1] for prompt in keys])
    tail = _from_scene_start(keys[0], tail)
    if not head and not tail:
        return _split_middle(words, keys)
    background = _join([*words[0][:head], *words[0][len(words[0]) - tail :]])
    entities = tuple(_join(prompt[head : len(prompt) - tail]) for prompt in words)
    return Split(background, entities)


def _split_middle(words: Sequence[list[str]], keys: Sequence[list[str]]) -> Split:
    """Take the longest run of two or more words that all prompts have somewhere."""
    for length in range(min(len(prompt) for prompt in keys) - 1, 1, -1):
        for start in range(len(keys[0]) - length + 1):
            run = keys[0][start : start + length]
            places = [_find_run(prompt, run) for prompt in keys]
            if min(places) >= 0 and any(map(_SCENE_START.fullmatch, run[:1])):
                entities = (
                    _join([*prompt[:at], *prompt[at + length :]])
                    for prompt, at in zip(words, places, strict=True)
                )
                return Split(_join(words[0][start : start + length]), tuple(entities))
    return Split("", tuple(_join(prompt) for prompt in words))


def _find_run(keys: Sequence[str], run: Sequence[str]) -> int:
    starts = range(len(keys) - len(run) + 1)
    return next((at for at in starts if keys[at : at + len(run)] == run), -1)


def _common_head(keys: Sequence[Sequence[str]]) -> int:
    """Return how many words all begin with, at least one word short of the shortest."""
    limit = min(len(prompt) for prompt in keys) - 1
    same = (len({prompt[index] for prompt in keys}) == 1 for index in range(limit))
    return sum(1 for _ in takewhile(bool, same))


def _opens_scene(keys: Sequence[str], head: int) -> bool:
    return head > 1 and _SCENE_START.fullmatch(keys[0]) is not None


def _from_scene_start(keys: Sequence[str], tail: int) -> int:
    """Shorten a shared ending to where its phrase of place begins: "sits in a park"."""
    ending = keys[len(keys) - tail :]
    starts = [index for index, key in enumerate(ending) if _SCENE_START.fullmatch(key)]
    return tail - starts[0] if starts else tail


def _join(words: Sequence[str]) -> str:
    text = " ".join(words)
    text = re.sub(r"(?<=[\u3040-\u30ff\u4e00-\u9fff]) (?=[\u3040-\u30ff\u4e00-\u9fff])", "", text)
    text = text.strip(_EDGES)
    return text[:1].upper() + text[1:] + "." if text else ""


def _as_object(entity: str) -> str:
    return (entity[:1].lower() + entity[1:]).rstrip(".")
