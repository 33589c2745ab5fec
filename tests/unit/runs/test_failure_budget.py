"""A run that makes garbage stops, and says at which stage it is made."""

import pytest

from coupled_core.config import ExecutionConfig
from coupled_core.dataset.funnel import Funnel
from coupled_core.runs.failure_budget import FailureBudget

FAILED = Funnel(pairs_planned=10, pairs_failed=10, failed_by_reason={"split_failed": 10})
GOOD = Funnel(pairs_planned=10, pairs_generated=10, pairs_scored=10, pairs_kept=10)
REJECTED = Funnel(
    pairs_planned=10,
    pairs_generated=10,
    pairs_scored=10,
    pairs_dropped=10,
    dropped_by_reason={"empty_mask": 10, "below_min_combined": 4},
)


def _budget(**settings: float) -> FailureBudget:
    return FailureBudget(ExecutionConfig.model_validate({"budget_window": 40, **settings}))


def _feed(budget: FailureBudget, *funnels: Funnel) -> str | None:
    for funnel in funnels:
        budget.add_built(funnel)
    return budget.find_excess()


def test_failures_beyond_the_share_stop_a_run_and_name_the_stage() -> None:
    why = _feed(_budget(), FAILED, FAILED, FAILED, GOOD)
    assert why is not None
    assert why.startswith("30 of the last 40 pairs failed, 30 of them at split (split_failed)")
    assert "max_failed_share 0.5" in why


def test_the_share_itself_is_allowed() -> None:
    assert _feed(_budget(), FAILED, FAILED, GOOD, GOOD) is None


def test_rejections_have_a_share_of_their_own() -> None:
    assert _feed(_budget(max_rejected_share=1.0), *[REJECTED] * 4) is None
    why = _feed(_budget(), *[REJECTED] * 4)
    assert why is not None
    assert "40 of the last 40 pairs were rejected, 40 of them at filter (empty_mask)" in why


def test_too_few_pairs_stop_nothing() -> None:
    assert _feed(_budget(), FAILED, FAILED, FAILED) is None


def test_what_was_long_ago_does_not_count() -> None:
    assert _feed(_budget(), *[FAILED] * 2, *[GOOD] * 4) is None
    assert _feed(_budget(), *[GOOD] * 40, *[FAILED] * 3) is not None


@pytest.mark.parametrize(("stage", "named"), [("score", "score"), (None, "an unknown stage")])
def test_a_shard_that_failed_as_a_whole_counts_with_all_its_pairs(
    stage: str | None, named: str
) -> None:
    budget = _budget()
    budget.add_failed(50, stage, "RuntimeError")
    assert f"50 of them at {named} (RuntimeError)" in str(budget.find_excess())
