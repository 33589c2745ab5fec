"""How many tokens splits will cost, before anybody is asked; the API counts a sample for free."""

import json
import math
import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from coupled_core.config import SplitConfig
from coupled_core.errors import LlmError
from coupled_core.records import PromptGroup
from coupled_core.splitting.llm.client import translate
from coupled_core.splitting.llm.request import INSTRUCTION, answer_schema, build_request, write_data

if TYPE_CHECKING:  # takes seconds to import
    from anthropic import Anthropic


_WORD = re.compile("[A-Za-z]+")
_LETTERS_OF_ONE = 7
# Fitted to the last tokenizer that Anthropic published; those of today's models are unknown.
_TOKENS_A_WORD, _TOKENS_A_FURTHER_LETTER, _TOKENS_A_MARK = 1.12, 0.35, 0.57
"""What ASCII costs: a word, each letter from the eighth on, each mark or digit; blanks are free."""
_TOKENS_A_CHAR = (
    ("\u0300", 4.4),  # accented Latin: such words fall into more tokens than English ones
    ("\u0590", 0.64),  # Greek, Cyrillic, Armenian
    ("\u0900", 1.1),  # Hebrew, Arabic
    ("\u1100", 1.5),  # Indic scripts, Thai
    ("\U0010ffff", 1.3),  # Hangul, Kana, Han
)
"""What any other character costs: the first bound that it does not pass counts."""
_FRAME_TOKENS = 150
"""What the API adds around turns and a schema: nobody has published how much."""
_ANSWER_TOKENS, _PAIR_TOKENS = 59.0, 33.0
"""Field names, marks and the fixed words of instructions, in an answer and in each of its pairs."""
_TEXT_SHARE, _PAIR_TEXT_SHARE = 0.34, 1.0
"""How much of all prompts the split repeats, and of a mean prompt the two instructions a pair."""


@dataclass(frozen=True)
class Tokens:
    """What is paid for."""

    input: float = 0.0
    output: float = 0.0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.input + other.input, self.output + other.output)


def estimate_split(group: PromptGroup) -> Tokens:
    """Return the tokens of a first question and its answer; repairs, a few per cent, are extra."""
    num_prompts = len(group.prompts)
    num_pairs = num_prompts * (num_prompts - 1) // 2
    prompt_tokens = sum(map(estimate_tokens, group.prompts))
    pair_tokens = _PAIR_TOKENS + _PAIR_TEXT_SHARE * prompt_tokens / num_prompts
    return Tokens(
        _fixed_input() + estimate_tokens(write_data(group.prompts, group.variation_kind)),
        _ANSWER_TOKENS + _TEXT_SHARE * prompt_tokens + num_pairs * pair_tokens,
    )


def estimate_tokens(text: str) -> float:
    """Return about how many tokens a text has."""
    words = _WORD.findall(text)
    num_further = sum(max(0, len(word) - _LETTERS_OF_ONE) for word in words)
    others = [] if text.isascii() else [char for char in text if char > "\x7f"]
    num_marks = len(text) - sum(map(len, words)) - text.count(" ") - len(others)
    return (
        sum(map(_tokens_of_char, others))
        + _TOKENS_A_WORD * len(words)
        + _TOKENS_A_FURTHER_LETTER * num_further
        + _TOKENS_A_MARK * num_marks
    )


def _tokens_of_char(char: str) -> float:
    return next(tokens for bound, tokens in _TOKENS_A_CHAR if char <= bound)


@cache
def _fixed_input() -> float:
    schema = json.dumps(answer_schema())
    return estimate_tokens(INSTRUCTION) + estimate_tokens(schema) + _FRAME_TOKENS


_Z = 1.959964
"""Half the width of a two-sided 95% interval, in standard errors."""
_RETRIES = 3
_THREADS = 8


@dataclass
class GroupSample:
    """So many of the groups that pass, each as likely as any other (Vitter 1985, algorithm R)."""

    size: int
    groups: list[PromptGroup] = field(default_factory=list)
    num_seen: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def add(self, group: PromptGroup) -> None:
        """Let a group pass."""
        self.num_seen += 1
        if len(self.groups) < self.size:
            self.groups.append(group)
        elif (place := self._random.randrange(self.num_seen)) < self.size:
            self.groups[place] = group


@dataclass(frozen=True)
class Scale:
    """How much more the API counts than the estimate says."""

    ratio: float = 1.0
    half_width: float = 0.0
    """Half the 95% interval of the ratio, as a share of it; 0.0: all groups were counted."""
    num_counted: int = 0


def count_sample(client: "Anthropic", config: SplitConfig, sample: GroupSample) -> Scale:
    """Return the ratio estimator of the input tokens (Cochran 1977, section 6) of all that passed.

    Raises:
        LlmError: the API refuses us or is down.
    """
    patient = client.with_options(max_retries=_RETRIES)  # nothing is paid, repeating does no harm
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="count") as pool:
        counted = list(pool.map(lambda group: _count(patient, config, group), sample.groups))
    estimated = [estimate_split(group).input for group in sample.groups]
    ratio = math.fsum(counted) / math.fsum(estimated)
    half_width = _half_width(counted, estimated, ratio, sample.num_seen)
    return Scale(ratio, half_width / ratio, len(counted))


def _half_width(
    counted: Sequence[float], estimated: Sequence[float], ratio: float, population: int
) -> float:
    count = len(counted)
    if count == population:
        return 0.0
    if count < 2:
        return ratio  # one group says nothing about how groups differ
    squares = math.fsum((c - ratio * e) ** 2 for c, e in zip(counted, estimated, strict=True))
    unseen_share = 1 - count / population
    error = math.sqrt(unseen_share * squares / (count - 1) / count)
    return _Z * error / (math.fsum(estimated) / count)


def _count(client: "Anthropic", config: SplitConfig, group: PromptGroup) -> int:
    params = {k: v for k, v in build_request(config, group).params.items() if k != "max_tokens"}
    try:
        return int(client.messages.count_tokens(**params).input_tokens)
    except Exception as error:
        problem = translate(error)
    # Not from the API's error: it carries the request and with it the key.
    raise problem if isinstance(problem, LlmError) else LlmError(str(problem))
