"""The samples that methods are judged on: split, seeded, and divided into train and validation.

The partition depends on a group's id alone, so a group never changes sides when a set grows.
"""

import hashlib
import logging
from collections.abc import Sequence

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError, PromptSetError
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import GroupSplit, PromptGroup, Sample
from coupled_core.runs.identity import sample_seed
from coupled_core.splitting.splitter import build_splitter

_logger = logging.getLogger(__name__)


def build_samples(prompts_uri: str | tuple[str, ...], config: RunConfig) -> list[Sample]:
    """Read and split a prompt set; groups that cannot be split are logged and left out.

    Args:
        prompts_uri: as `PromptSetConfig.uri`; takes the place of the one in `config`.
        config: says how bad rows are met, which splitter splits, and the seed of groups without
            one of their own.

    Returns:
        One sample for each group and seed, in the order of the set.

    Raises:
        PromptSetError: the set cannot be read, or none of its groups can be split.
    """
    prompts = config.prompts.model_copy(update={"uri": prompts_uri})
    groups = [item for item in read_prompt_set(prompts) if isinstance(item, PromptGroup)]
    splitter = build_splitter(config.split)
    splitter.prepare(lambda: groups, len(groups))
    outcomes = splitter.split(groups)
    samples: list[Sample] = []
    for group, outcome in zip(groups, outcomes, strict=True):
        if isinstance(outcome, GroupSplit):
            samples += _list_samples(group, outcome, config.generation.seed)
        else:
            _logger.warning("group %s is left out: %s", group.group_id, outcome.message)
    if not samples:
        raise PromptSetError(
            f"{prompts.label}: none of its {len(groups)} groups could be split, so there is "
            "nothing to evaluate on"
        )
    return samples


def partition_samples(
    samples: Sequence[Sample], share: float = 0.5
) -> tuple[list[Sample], list[Sample]]:
    """Divide samples by the hash of their group, about `share` of the groups to the first.

    Both lists stand in the order of that hash, so that their first so many groups are a sample of
    the whole set and not its top. All samples of a group stay together.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share in (0, 1), got {share}")
    ordered = sorted(samples, key=lambda s: (_order_of(s.group.group_id, "order"), s.seed))
    sides = [_order_of(sample.group.group_id, "side") < share for sample in ordered]
    train = [sample for sample, is_train in zip(ordered, sides, strict=True) if is_train]
    validation = [sample for sample, is_train in zip(ordered, sides, strict=True) if not is_train]
    return train, validation


def take_groups(samples: Sequence[Sample], num_groups: int) -> list[Sample]:
    """Return the samples of the first so many groups.

    Raises:
        ConfigError: there are fewer groups.
    """
    names = list(dict.fromkeys(sample.group.group_id for sample in samples))
    if num_groups > len(names):
        raise ConfigError(f"{num_groups} groups are wanted here, but there are {len(names)}")
    wanted = set(names[:num_groups])
    return [sample for sample in samples if sample.group.group_id in wanted]


def _list_samples(group: PromptGroup, split: GroupSplit, run_seed: int) -> list[Sample]:
    return [
        Sample(group, sample_seed(run_seed, group.group_id, group.seed, index), split)
        for index in range(group.num_seeds)
    ]


def _order_of(group_id: str, purpose: str) -> float:
    """Return a number in [0, 1) that depends on the group and on what it is asked for."""
    digest = hashlib.sha256(f"{purpose}:{group_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
