"""How many tokens questions will cost, before anybody is asked; the API counts a few for free."""

import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from coupled_core.llm.client import Api, ApiError
from coupled_core.llm.pace import Pace
from coupled_core.llm.question import Question

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


@dataclass(frozen=True)
class Tokens:
    """What is paid for."""

    input: float = 0.0
    output: float = 0.0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.input + other.input, self.output + other.output)


def estimate_tokens(text: str) -> float:
    """Return about how many tokens a text has."""
    words = _WORD.findall(text)
    num_further = sum(max(0, len(word) - _LETTERS_OF_ONE) for word in words)
    others = [] if text.isascii() else [char for char in text if char > "\x7f"]
    # Digits are marks, too: a tokenizer cuts numbers into pieces.
    num_marks = len(text) - sum(map(len, words)) - text.count(" ") - len(others)
    return (
        sum(map(_tokens_of_char, others))
        + _TOKENS_A_WORD * len(words)
        + _TOKENS_A_FURTHER_LETTER * num_further
        + _TOKENS_A_MARK * num_marks
    )


def _tokens_of_char(char: str) -> float:
    return next(tokens for bound, tokens in _TOKENS_A_CHAR if char <= bound)


_Z = 1.959964
"""Half the width of a two-sided 95% interval, in standard errors."""
_TRIES, _THREADS = 3, 8


@dataclass(frozen=True)
class Scale:
    """How much more the API counts than the estimate says."""

    ratio: float = 1.0
    half_width: float = 0.0
    """Half the 95% interval of the ratio, as a share of it; 0.0: all were counted."""
    num_counted: int = 0


def count_sample(
    api: Api, questions: Sequence[Question], estimated: Sequence[float], population: int
) -> Scale:
    """Return the ratio estimator of the input tokens (Cochran 1977, section 6).

    Args:
        api: Counts for free.
        questions: One or more of all that there are, drawn at random.
        estimated: Their input tokens as estimated.
        population: How many questions there are.

    Raises:
        LlmError: the API refuses us or is down.
    """
    pace = Pace()

    def count(question: Question) -> int:
        for attempt in range(_TRIES):
            try:
                return api.count_tokens(question)
            except ApiError as error:
                if attempt == _TRIES - 1 or not error.is_transient:
                    pace.stop()  # what one is told holds for all
                    raise error.to_final() from None
                pace.back_off(error, attempt)
                pace.wait_for_turn()
        raise AssertionError("the last try returns or raises")

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="count") as pool:
        counted = list(pool.map(count, questions))
    ratio = math.fsum(counted) / math.fsum(estimated)
    half_width = _half_width(counted, estimated, ratio, population)
    return Scale(ratio, half_width / ratio, len(counted))


def _half_width(
    counted: Sequence[float], estimated: Sequence[float], ratio: float, population: int
) -> float:
    count = len(counted)
    if count == population:
        return 0.0
    if count < 2:
        return ratio  # one group says nothing about how groups differ
    # The variance of the residuals from the line through the origin, with the finite population's
    # correction: what was counted needs no estimate.
    squares = math.fsum((c - ratio * e) ** 2 for c, e in zip(counted, estimated, strict=True))
    unseen_share = 1 - count / population
    error = math.sqrt(unseen_share * squares / (count - 1) / count)
    return _Z * error / (math.fsum(estimated) / count)
