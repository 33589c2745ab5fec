"""What is counted of a build, as a collector would get it."""

from typing import Any

import pytest

from coupled_core.dataset.funnel import Funnel
from coupled_core.runs.steps import ShardResult
from tasks.metrics import BuildMetrics, exported_metrics

RESULT = ShardResult(
    shard_index=17,
    num_pairs=10,
    funnel=Funnel(
        pairs_planned=10,
        pairs_failed=2,
        pairs_generated=8,
        pairs_scored=8,
        pairs_kept=5,
        pairs_dropped=3,
        dropped_by_reason={"empty_mask": 3},
        failed_by_reason={"split_failed": 2},
    ),
    seconds={"split": 0.5, "make": 41.0, "generate": 40.0, "score": 2.0},
)


def test_without_a_collector_counting_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with exported_metrics():
        BuildMetrics("pairs").add_built(RESULT)


def test_stages_pairs_rejections_device_time_and_money_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counters()
    monkeypatch.setattr("tasks.metrics.metrics.get_meter", lambda _name: counted)
    build = BuildMetrics("pairs")
    build.add_built(RESULT)
    build.add_failed("generate")
    build.add_spending(0.25)
    assert counted.found["coupled.device.time", ""] == 41.0
    assert counted.found["coupled.stage.duration", "generate"] == 40.0
    assert counted.found["coupled.pairs", "kept"] == 5
    assert counted.found["coupled.rejections", "split_failed"] == 2
    assert counted.found["coupled.shards.failed", "generate"] == 1
    assert counted.found["coupled.llm.cost", ""] == 0.25


class Counters:
    """A meter that keeps the last value by name and by what an attribute beside the dataset is."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], float] = {}

    def create_counter(self, name: str, *_: str) -> Any:
        return _Instrument(self, name)

    create_histogram = create_counter


class _Instrument:
    def __init__(self, counters: Counters, name: str) -> None:
        self._counters, self._name = counters, name

    def add(self, value: float, attributes: dict[str, str]) -> None:
        where = dict(attributes)
        assert where.pop("dataset") == "pairs"
        self._counters.found[self._name, "".join(where.values())] = value

    record = add
