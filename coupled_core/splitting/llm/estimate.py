"""How many tokens splits will cost, before anybody is asked.

Fitted to the last tokenizer that Anthropic has published, of 2023 (`anthropic/tokenizer.json` in
the SDK up to 0.38), on the checked groups: `infra/benchmarks/token_estimate.py` prints how well.
Models of today may count otherwise; `counted.py` has the API itself count a sample.
"""

import json
import re
from dataclasses import dataclass
from functools import cache

from coupled_core.records import PromptGroup
from coupled_core.splitting.llm.answer import answer_schema
from coupled_core.splitting.llm.instruction import INSTRUCTION, write_data

_WORD = re.compile("[A-Za-z]+")
_LETTERS_OF_ONE = 7
_TOKENS_A_WORD, _TOKENS_A_FURTHER_LETTER, _TOKENS_A_MARK = 1.12, 0.35, 0.57
"""Of ASCII: a word, each letter from the eighth on, each mark and digit; blanks are free."""
_TOKENS_A_CHAR = (
    ("\u0300", 4.4),  # accented Latin: such words fall into more tokens than English ones
    ("\u0590", 0.64),  # Greek, Cyrillic, Armenian
    ("\u0900", 1.1),  # Hebrew, Arabic
    ("\u1100", 1.5),  # Indic scripts, Thai
    ("\U0010ffff", 1.3),  # Hangul, Kana, Han
)
"""Of other characters, each up to a bound."""
_FRAME_TOKENS = 150
"""What the API adds around turns and a schema: nobody has published how much."""
_ANSWER_TOKENS, _PAIR_TOKENS = 61.0, 33.0
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
    num_letters = sum(map(len, words))
    num_further = sum(max(0, len(word) - _LETTERS_OF_ONE) for word in words)
    num_marks = len(text) - num_letters - text.count(" ")
    tokens = 0.0
    if not text.isascii():
        others = [char for char in text if char > "\x7f"]
        num_marks -= len(others)
        tokens = sum(map(_tokens_of_char, others))
    return (
        tokens
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
