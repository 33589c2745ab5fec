"""Let the API count a sample of groups, which is free, and scale the estimate to it."""

import math
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coupled_core.config import SplitConfig
from coupled_core.errors import LlmError
from coupled_core.records import PromptGroup
from coupled_core.splitting.llm.client import translate
from coupled_core.splitting.llm.estimate import estimate_split
from coupled_core.splitting.llm.request import build_request

if TYPE_CHECKING:  # takes seconds to import
    from anthropic import Anthropic

_Z = 1.959964
"""Of a two-sided 95% interval."""
_RETRIES = 3
_THREADS = 8


@dataclass
class Sample:
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
    """By how much the API counts more than the estimate."""

    ratio: float = 1.0
    half_width: float = 0.0
    """Of the 95% interval of the ratio, as a share of it; 0.0: all groups were counted."""
    num_counted: int = 0


def count_sample(client: "Anthropic", config: SplitConfig, sample: Sample) -> Scale:
    """Return the ratio estimator of the input tokens (Cochran 1977, section 6) of all that passed.

    Raises:
        LlmError: the API refuses us or is down.
    """
    patient = client.with_options(max_retries=_RETRIES)  # nothing is paid, repeating does no harm
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="count") as pool:
        counted = list(pool.map(lambda group: _count(patient, config, group), sample.groups))
    estimated = [estimate_split(group).input for group in sample.groups]
    ratio = math.fsum(counted) / math.fsum(estimated)
    return Scale(
        ratio,
        _half_width(counted, estimated, ratio, sample.num_seen) / ratio,
        len(sample.groups),
    )


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
