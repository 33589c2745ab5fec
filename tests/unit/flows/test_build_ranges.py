"""What the end of a run of some shards means for the runs of the others."""

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed, Failed, State

from coupled_core.errors import must_repeat
from flows.build_ranges import _describe_end


@pytest.mark.parametrize(
    ("state", "stops_all"),
    [
        (Failed(message="Flow run encountered an exception: ConfigError: no such model"), True),
        (Failed(message="Flow run encountered an exception: StoppedByLlmError: 401"), True),
        (Failed(message="Flow run encountered an exception: PromptSetError: row 3"), True),
        (Failed(message="Flow run encountered an exception: ShardsFailedError: 1 of 9"), False),
        (Failed(message="Flow run encountered an exception: ValueError: ConfigError: x"), False),
        (Crashed(message="ConfigError: no heartbeat for 90 s"), False),
        (Crashed(), False),
    ],
)
def test_only_what_every_other_run_would_meet_stops_them_all(
    state: State[object], stops_all: bool
) -> None:
    error = _describe_end(FlowRun.model_construct(name="run shards 0-9", state=state))
    assert must_repeat(error) == stops_all
    assert "run shards 0-9 ended" in str(error)
    assert (state.message or "").rpartition(": ")[2] in str(error)
