"""How many tokens splits will cost, before anybody is asked."""

import json
from functools import cache

from coupled_core.config import SplitConfig
from coupled_core.llm import estimate
from coupled_core.llm.client import Api
from coupled_core.llm.estimate import Scale, Tokens, estimate_tokens
from coupled_core.records import PromptGroup
from coupled_core.reservoir import Reservoir
from coupled_core.splitting.llm.question import (
    INSTRUCTION,
    answer_schema,
    build_question,
    write_data,
)

_FRAME_TOKENS = 150
"""What the API adds around turns and a schema: nobody has published how much."""
_ANSWER_TOKENS, _PAIR_TOKENS = 59.0, 33.0
"""Field names, marks and the fixed words of instructions, in an answer and in each of its pairs."""
_TEXT_SHARE, _PAIR_TEXT_SHARE = 0.34, 1.0
"""How much of all prompts the split repeats, and of a mean prompt the two instructions a pair."""


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


@cache
def _fixed_input() -> float:
    schema = json.dumps(answer_schema())
    return estimate_tokens(INSTRUCTION) + estimate_tokens(schema) + _FRAME_TOKENS


def count_sample(api: Api, config: SplitConfig, sample: Reservoir[PromptGroup]) -> Scale:
    """Return how much more the API counts than the estimate says, by a sample of all groups.

    Raises:
        LlmError: the API refuses us or is down.
    """
    questions = [build_question(config, group) for group in sample.items]
    estimated = [estimate_split(group).input for group in sample.items]
    return estimate.count_sample(api, questions, estimated, sample.num_seen)
