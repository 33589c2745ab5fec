"""What a build would do, with real prompt sets and real folders."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.config import RunConfig, SplitConfig
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot
from coupled_core.errors import PromptSetError
from coupled_core.id_set import IdSet
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import PromptGroup
from coupled_core.reservoir import Reservoir
from coupled_core.runs import forecast as module
from coupled_core.runs.forecast import Forecast, SplitCounter, forecast_build
from coupled_core.runs.plan import name_requests
from coupled_core.storage.local import LocalStore
from tests.messages_server.process import RunningServer
from tests.sample_shards import SampleProvenance, describe_run, publish
from tests.unit.runs.shard_samples import NAMING

GENERATION = SampleProvenance()


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


def _config(tmp_path: Path, num_groups: int, **split: object) -> RunConfig:
    rows = [
        {"group_id": f"g{n}", "prompts": [f"A {thing} at lake {n}" for thing in ("fox", "cat")]}
        for n in range(num_groups)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    return RunConfig.model_validate(
        {
            "prompts": {"uri": str(tmp_path / "set.parquet")},
            "output": {"uri": str(tmp_path / "pairs"), "shard_size": 4},
            "split": split,
        }
    )


def _forecast(tmp_path: Path, num_groups: int, **split: object) -> Forecast:
    return forecast_build(_config(tmp_path, num_groups, **split))


def test_a_new_dataset_has_everything_left_and_nothing_is_written(tmp_path: Path) -> None:
    found = _forecast(tmp_path, 10)
    assert (found.run.num_groups, found.run.num_pairs, found.pairs_to_make) == (10, 10, 10)
    assert [shard.num_items for shard in found.run.shards] == [4, 4, 2]
    assert (found.groups_done, found.seconds_a_pair, found.gpu_seconds) == (0, None, None)
    assert (found.splits.is_paid, found.splits.groups_to_ask) == (False, 10)
    assert not (tmp_path / "pairs").exists()


def test_a_price_needs_no_key(tmp_path: Path) -> None:
    found = _forecast(tmp_path, 3, splitter="anthropic")
    assert found.splits.is_paid
    assert 0 < found.splits.usd_batch < found.splits.usd_online


def test_answers_in_the_datasets_cache_are_found(tmp_path: Path) -> None:
    config = _config(tmp_path, 4, splitter="anthropic")
    groups = [item for item in read_prompt_set(config.prompts) if isinstance(item, PromptGroup)]
    sha256 = name_requests(config.split)[1](groups[2])
    store = LocalStore(tmp_path / "pairs" / "split-answers")
    store.write(f"answers/{sha256[:2]}/{sha256}.json", b"{}")
    splits = forecast_build(config).splits
    assert (splits.groups_cached, splits.groups_to_ask) == (1, 3)


def test_the_api_counts_a_sample_where_it_is_asked_to(
    tmp_path: Path, messages_server: RunningServer
) -> None:
    config = _config(tmp_path, 6, splitter="anthropic")
    counted, plain = forecast_build(config, num_counted=2), forecast_build(config)
    counters = messages_server.counters()
    assert (counters["requests"], counters["paid"]["online"]) == ({"count_tokens": 2}, 0)
    assert counted.splits.input_tokens != plain.splits.input_tokens


def test_bad_rows_stop_the_plan_as_they_would_the_build(tmp_path: Path) -> None:
    config = _config(tmp_path, 1)
    pq.write_table(pa.table({"group_id": ["g"], "prompts": [["x"]]}), tmp_path / "set.parquet")
    with pytest.raises(PromptSetError, match="1 bad row"):
        forecast_build(config)


def test_groups_that_the_dataset_holds_need_no_split() -> None:
    config = SplitConfig(splitter="offline")
    groups = [PromptGroup(f"g{n}", ("A fox in snow", "A cat in snow"), "s", n) for n in range(3)]
    counter = SplitCounter(config, IdSet(), Reservoir(0))
    for number, group in enumerate(groups):
        counter.count(NAMING.plan_group(group), is_done=number == 1)
    assert (counter.groups_done, counter.forecast().groups_to_ask) == (1, 2)


def test_the_time_of_a_pair_is_the_mean_of_pairs_made_in_the_same_way(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    snapshot = current_snapshot(store)
    rows = [row for row in _rows(store) if row["gpu_seconds"] is not None]
    made = replace(GENERATION, device_name=rows[0]["device_name"])
    expected = sum(row["gpu_seconds"] for row in rows) / len(rows)
    assert module._measure_pair(store, snapshot, made) == pytest.approx(expected)
    slower = replace(made, num_inference_steps=50)
    assert module._measure_pair(store, snapshot, slower) is None
    assert module._measure_pair(store, snapshot, replace(made, weights="int8")) is None


def _rows(store: LocalStore) -> list[dict[str, object]]:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    batches = module.iter_manifest(store, snapshot.parts)
    return [row for batch in batches for row in batch.to_pylist()]
