"""Models of this process, each loaded once, whatever number of shards uses it.

The libraries behind them take some twenty seconds to import. That waits for the first model: what
is refused is refused without it.
"""

import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from coupled_core.config import (
    ContentFilterConfig,
    GenerationConfig,
    PromptSetConfig,
    ScoringConfig,
    SplitConfig,
)
from coupled_core.generation.provenance import GenerationProvenance, resolve_generation
from coupled_core.prompts.prompt_set import PromptCursor
from coupled_core.scoring.content_filter import ContentFilter, load_content_filter
from coupled_core.splitting.splitter import Splitter, build_splitter

if TYPE_CHECKING:
    from coupled_core.generation.generator import GroupGenerator
    from coupled_core.scoring.pair_scorer import PairScorer

_loading = threading.Lock()
"""Two threads that ask at the same time must not load the same model twice."""


def generator_for(config: GenerationConfig) -> "GroupGenerator":
    """Return the image model."""
    with _loading:
        return _generator(config)


def scorer_for(config: ScoringConfig, device: str) -> "PairScorer":
    """Return Segment Anything and CLIP."""
    with _loading:
        return _scorer(config, device)


def generation_of(config: GenerationConfig) -> GenerationProvenance:
    """Return what the settings resolve to, without loading weights."""
    with _loading:
        return _generation(config)


def splitter_for(config: SplitConfig, account: str | None = None) -> Splitter:
    """Return the splitter that spends an account's money; None: one that is not asked to split."""
    with _loading:
        return _splitter(config, account)


def prompts_of(config: PromptSetConfig) -> PromptCursor:
    """Return a place in the prompt set; the shards of a process read on from there."""
    with _loading:
        return _prompts(config)


def content_filter_for(
    config: ContentFilterConfig, scoring: ScoringConfig, device: str
) -> ContentFilter | None:
    """Return the content filter, which sees with the scorer's CLIP; None: none runs."""
    scorer = scorer_for(scoring, device)
    with _loading:
        return _content_filter(config, scorer.clip)


@lru_cache(maxsize=1)
def _generator(config: GenerationConfig) -> "GroupGenerator":
    from coupled_core.generation.generator import load_generator

    return load_generator(config)


@lru_cache(maxsize=1)
def _scorer(config: ScoringConfig, device: str) -> "PairScorer":
    from coupled_core.scoring.pair_scorer import load_scorer

    return load_scorer(config, device)


_content_filter = lru_cache(maxsize=1)(load_content_filter)
_generation = lru_cache(maxsize=8)(resolve_generation)
_splitter = lru_cache(maxsize=4)(build_splitter)
_prompts = lru_cache(maxsize=1)(PromptCursor)
