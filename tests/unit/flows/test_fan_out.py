"""What a run does with a Ray cluster, which stands in here: the tests' extra has no Ray."""

import sys
from collections.abc import Generator, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from coupled_core.config import ExecutionConfig, RunConfig
from coupled_core.errors import NodeLostError
from coupled_core.runs.division import Outcome
from coupled_core.runs.plan import ShardPlan
from flows import fan_out

SHARD = ShardPlan("run", 0, 1, 1, (), ())


class _DiedError(Exception):
    pass


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was ended, in order."""
    found: list[str] = []
    exceptions = SimpleNamespace(LocalRayletDiedError=_DiedError, AuthenticationError=_DiedError)
    modules: dict[str, dict[str, Any]] = {
        "ray": {
            "init": lambda *_, **__: None,
            "cluster_resources": dict,
            "shutdown": lambda: found.append("Ray"),
            "exceptions": exceptions,
        },
        "prefect_ray": {"RayTaskRunner": object},
        "prefect_ray.context": {"remote_options": lambda **_: None},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return found


def _build(
    monkeypatch: pytest.MonkeyPatch, ended: list[str], outcomes: Sequence[Outcome[Any, Any]]
) -> Generator[Outcome[Any, Any], None, None]:
    def submit(*_: Any) -> Generator[Outcome[Any, Any], None, None]:
        try:
            yield from outcomes
        finally:
            ended.append("workers")

    monkeypatch.setattr(fan_out, "_submit_shards", submit)
    execution = ExecutionConfig(runner="ray", workers=1)
    return fan_out.build_side_by_side(RunConfig(), execution, [SHARD])


def test_who_reads_no_further_ends_the_workers_before_ray(
    monkeypatch: pytest.MonkeyPatch, ended: list[str]
) -> None:
    building = _build(monkeypatch, ended, [Outcome(SHARD), Outcome(SHARD)])
    next(building)
    building.close()
    assert ended == ["workers", "Ray"]


def test_the_loss_of_the_node_of_a_run_is_named_and_blames_no_shard(
    monkeypatch: pytest.MonkeyPatch, ended: list[str]
) -> None:
    lost = Outcome(SHARD, error=_DiedError("raylet died"))
    with pytest.raises(NodeLostError, match="run the same command again"):
        list(_build(monkeypatch, ended, [lost]))
    assert ended == ["workers", "Ray"]
