"""A sample counts as done when the dataset holds all of its pairs, not some."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from coupled_core.config import RunConfig
from coupled_core.dataset.pair_ids import PairIdSet
from coupled_core.prompts.prompt_set import PromptSetSummary
from coupled_core.records import PromptGroup
from coupled_core.runs.plan import RunPlan, name_samples, plan_run
from coupled_core.storage.local import LocalStore
from tests.unit.runs.shard_samples import make_group, make_split
from tests.unit.runs.test_plan import GENERATION

GROUP = make_group(0, num_prompts=3)
CONFIG = RunConfig()


def _request(group: PromptGroup) -> str:
    return make_split(group).request_sha256


def _pair_ids() -> list[str]:
    [(_, ids)] = name_samples(CONFIG, GENERATION, _request).list_samples(GROUP)
    return list(ids.values())


def _plan(folder: Path, committed: Sequence[str]) -> RunPlan:
    return plan_run(
        CONFIG,
        [GROUP],
        PromptSetSummary(1, 3, 0, ()),
        GENERATION,
        split_request=_request,
        splitter_identity="offline/1",
        committed=PairIdSet([list(committed)]),
        store=LocalStore(folder),
    )


@pytest.mark.parametrize("num_committed", [1, 2])
def test_three_prompts_of_whose_pairs_some_are_committed_are_still_planned(
    tmp_path: Path, num_committed: int
) -> None:
    plan = _plan(tmp_path, _pair_ids()[:num_committed])
    assert [(shard.num_pairs, shard.done_samples) for shard in plan.shards] == [(3, ())]
    assert plan.num_pairs_done == 0


def test_three_prompts_whose_pairs_are_all_committed_are_not_planned(tmp_path: Path) -> None:
    plan = _plan(tmp_path, _pair_ids())
    assert (plan.shards, plan.num_pairs_done) == ((), 3)
