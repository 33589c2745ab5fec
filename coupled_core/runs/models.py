"""Models of this process, each loaded once, whatever number of shards or calls uses it.

The libraries behind them take some twenty seconds to import. That waits for the first model: what
is refused is refused without it.
"""

import logging
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from coupled_core.config import (
    ContentFilterConfig,
    GenerationConfig,
    ScoringConfig,
    SplitConfig,
)
from coupled_core.generation.model_files import ModelFiles, find_model_files
from coupled_core.generation.provenance import GenerationProvenance, resolve_generation
from coupled_core.progress import current_progress
from coupled_core.runs.fetching import told_fetching
from coupled_core.runs.needs import beside_bytes
from coupled_core.scoring.content_filter import ContentFilter, load_content_filter
from coupled_core.splitting.splitter import Splitter, build_splitter

if TYPE_CHECKING:
    from coupled_core.generation.generator import GroupGenerator
    from coupled_core.scoring.pair_scorer import PairScorer

_logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
_loading = threading.RLock()
"""Two threads that ask at the same time must not load the same model twice."""


class Latest(Generic[P, R]):
    """Keeps what was loaded last, and lets go of it before anything else is loaded.

    `lru_cache` would do so only afterwards, and two large models may not fit into memory.
    """

    def __init__(self, load: Callable[P, R]) -> None:
        self._load = load
        self._held: tuple[object, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what is loaded with these arguments; anything but the last is loaded again."""
        key = (args, kwargs)
        with _loading:
            if self._held is None or self._held[0] != key:
                self._held = None
                self._held = key, self._load(*args, **kwargs)
            return self._held[1]


def generator_for(
    config: GenerationConfig, scoring: ScoringConfig | None = None
) -> "GroupGenerator":
    """Return the image model; what the current listener of progress hears meanwhile is bytes.

    Args:
        config: Which, and how it is used.
        scoring: What will be on the same device beside it; None: nothing.
    """
    # Neither is part of what is loaded: samples bring their seeds, and stages cut the batches.
    same_model = config.model_copy(update={"seed": 0, "batch_size": 1})
    return _generator(same_model, 0 if scoring is None else beside_bytes(scoring))


def _say(stage: str, text: str) -> None:
    """Tell whoever watches: a large model takes minutes to load, and longer to fetch."""
    _logger.info("%s", text)
    current_progress().remark(stage, text)


@Latest
def scorer_for(config: ScoringConfig, device: str) -> "PairScorer":
    """Return Segment Anything and CLIP."""
    _say("score", f"loading Segment Anything {config.sam_model} and CLIP {config.clip_model}")
    from coupled_core.scoring.pair_scorer import load_scorer

    return load_scorer(config, device)


def generation_of(config: GenerationConfig) -> GenerationProvenance:
    """Return what the settings resolve to, without loading weights."""
    with _loading:
        return _generation(config)


def files_of(base_model: str, revision: str | None) -> ModelFiles:
    """Return what is known of a base model by name; its files are hashed once in a process."""
    with _loading:
        return _files(base_model, revision)


def splitter_for(config: SplitConfig, account: str | None = None) -> Splitter:
    """Return the splitter that spends an account's money; None: one that is not asked to split."""
    with _loading:
        return _splitter(config, account)


def content_filter_for(
    config: ContentFilterConfig, scoring: ScoringConfig, device: str
) -> ContentFilter | None:
    """Return the content filter, which sees with the scorer's CLIP; None: none runs."""
    scorer = scorer_for(scoring, device)
    with _loading:
        return _content_filter(config, scorer.clip)


def has_room_beside(device: str) -> bool:
    """Say whether a second model can compute beside the generator without slowing it down.

    On a CPU the two share the cores, so only where torch leaves some of them alone.
    """
    if device != "cpu":
        return True
    import torch

    return torch.get_num_threads() < (os.cpu_count() or 1)


@Latest
def _generator(config: GenerationConfig, beside: int) -> "GroupGenerator":
    _say("generate", f"loading {config.base_model}")
    from coupled_core.generation.generator import load_generator

    progress = current_progress()  # which a thread would not find
    with told_fetching(config.base_model, lambda text: progress.remark("generate", text)):
        return load_generator(config, beside_bytes=beside)


_content_filter = lru_cache(maxsize=1)(load_content_filter)
_generation = lru_cache(maxsize=8)(resolve_generation)
_files = lru_cache(maxsize=8)(find_model_files)
_splitter = lru_cache(maxsize=4)(build_splitter)
