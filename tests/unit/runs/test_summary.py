"""What a run says when it is over."""

import pickle
from dataclasses import replace

import pytest

from coupled_core.errors import must_repeat
from coupled_core.runs.summary import RunSummary, ShardsFailedError, StoppedByLlmError

SUMMARY = RunSummary(
    run_id="run",
    dataset="pairs",
    snapshot_id=None,
    is_new=False,
    num_pairs=8,
    num_pairs_before=0,
    num_shards=3,
    failed_shards={1: "StorageError: disk full"},
    stopped=None,
    splitter="offline rules",
    llm_cost_usd=0.0,
    llm_spent_usd=0.0,
    funnel={},
    manifest_parts=(),
    attempts={"at_most": 1},
)


@pytest.mark.parametrize("kind", [ShardsFailedError, StoppedByLlmError])
@pytest.mark.parametrize("stopped", [None, "the cap of 1 USD is reached"])
def test_a_failure_survives_the_way_between_processes(
    kind: type[ShardsFailedError], stopped: str | None
) -> None:
    error = kind(replace(SUMMARY, stopped=stopped))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert must_repeat(again) == (kind is StoppedByLlmError)
    assert (str(again), again.summary) == (str(error), error.summary)
    assert (stopped or "1 of 3 shards failed") in str(again)
