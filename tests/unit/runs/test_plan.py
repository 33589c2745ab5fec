"""Plans of real prompt sets over an empty folder or a dataset that holds part of them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.config import RunConfig
from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import ConfigError, PromptSetError
from coupled_core.generation import budget
from coupled_core.generation.provenance import GenerationProvenance
from coupled_core.id_set import IdSet
from coupled_core.prompts import prompt_set
from coupled_core.runs import needs
from coupled_core.runs import plan as module
from coupled_core.runs.models import generation_of
from coupled_core.runs.plan import RunPlan, plan_run
from coupled_core.runs.planned import PlanFiles, PlannedGroup, ShardInput
from coupled_core.runs.shard import ShardWork
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.storage.local import LocalStore
from tests.unit.runs.shard_samples import GENERATION

Row = dict[str, Any]


def _row(number: int, num_prompts: int = 2, **columns: Any) -> Row:
    words = ["calm", "wide", "deep", "cold", "clear", "dark", "long", "quiet", "frozen", "misty"]
    prompts = [f"A {thing} at a {words[number]} lake" for thing in ("fox", "cat", "dog", "bird")]
    return {"group_id": f"g{number}", "prompts": prompts[:num_prompts], **columns}


def _config(tmp_path: Path, rows: Sequence[Row], **settings: Any) -> RunConfig:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return RunConfig.model_validate(
        {
            "prompts": {"uri": str(path), "on_bad_row": "quarantine"},
            "split": {"splitter": "offline"},
            "output": {"uri": str(tmp_path / "pairs"), "shard_size": 2},
            **settings,
        }
    )


def _plan(
    config: RunConfig,
    generation: GenerationProvenance = GENERATION,
    *,
    committed: Sequence[str] = (),
    monkeypatch: pytest.MonkeyPatch | None = None,
) -> RunPlan:
    if monkeypatch is not None:
        held = IdSet([list(committed)] if committed else [])
        monkeypatch.setattr(module, "committed_pair_ids", lambda *_: held)
    return plan_run(config, generation)


def _shards(config: RunConfig, plan: RunPlan) -> list[ShardInput]:
    files = PlanFiles(LocalStore(Path(config.output.uri)), plan.run_id, config.output.shard_size)
    return list(files.read())


def _ids(group: PlannedGroup) -> list[str]:
    return [pair_id for sample in group.samples for pair_id in sample.pair_ids.values()]


def test_shards_are_stretches_of_the_input_in_order(tmp_path: Path) -> None:
    config = _config(tmp_path, [_row(n) for n in range(5)])
    plan = _plan(config)
    assert [(s.shard_index, s.num_items, s.num_pairs) for s in plan.shards] == [
        (0, 2, 2),
        (1, 2, 2),
        (2, 1, 1),
    ]
    stored = [[p.group.group_id for p in shard.groups] for shard in _shards(config, plan)]
    assert stored == [["g0", "g1"], ["g2", "g3"], ["g4"]]


def test_pairs_count_for_each_seed(tmp_path: Path) -> None:
    plan = _plan(_config(tmp_path, [_row(0, num_prompts=3, num_seeds=4)]))
    assert plan.num_pairs == plan.shards[0].num_pairs == 12


def test_a_shard_that_the_dataset_holds_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, [_row(n) for n in range(4)])
    first = _shards(config, _plan(config))[0]
    held = [pair_id for group in first.groups for pair_id in _ids(group)]
    plan = _plan(config, committed=held, monkeypatch=monkeypatch)
    assert [shard.shard_index for shard in plan.shards] == [1]
    assert (plan.num_pairs, plan.num_pairs_done) == (4, 2)


def test_only_new_seeds_of_a_group_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, [_row(0, num_seeds=3)])
    (group,) = _shards(config, _plan(config))[0].groups
    held = list(group.samples[0].pair_ids.values())
    plan = _plan(config, committed=held, monkeypatch=monkeypatch)
    assert plan.shards[0].done_samples == (0,)
    work = ShardWork(config, plan.shards[0], GENERATION)
    work.keep_outcomes(tuple(OfflineSplitter().split([group.group])))
    assert list(work.attempt(1).samples) == [sample.key for sample in group.samples[1:]]


def test_a_group_of_which_one_pair_is_held_is_planned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, [_row(0, num_prompts=3)])
    (group,) = _shards(config, _plan(config))[0].groups
    plan = _plan(config, committed=_ids(group)[:1], monkeypatch=monkeypatch)
    assert (plan.num_pairs_done, plan.shards[0].num_pairs) == (0, 3)


def test_the_ids_of_a_plan_are_those_of_the_splits(tmp_path: Path) -> None:
    config = _config(tmp_path, [_row(0)])
    (group,) = _shards(config, _plan(config))[0].groups
    (split,) = OfflineSplitter().split([group.group])
    assert split.request_sha256 == group.request_sha256


def test_a_new_bad_row_is_new_work_and_a_known_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, [_row(0), {"group_id": "bad", "prompts": ["alone"]}])
    plan = _plan(config)
    assert (plan.num_groups, plan.num_quarantined) == (1, 1)
    (shard,) = _shards(config, plan)
    known = _ids(shard.groups[0])
    assert len(_plan(config, committed=known, monkeypatch=monkeypatch).shards) == 1
    known.append(shard.bad_rows[0].pair_id)
    assert _plan(config, committed=known, monkeypatch=monkeypatch).shards == ()


def test_finished_shards_are_found_by_their_marker(tmp_path: Path) -> None:
    config = _config(tmp_path, [_row(n) for n in range(4)])
    name = _plan(config).run_id
    WorkFolder(LocalStore(tmp_path / "pairs"), name, 1).write_done({})
    plan = _plan(config)
    assert plan.finished_shards == {1}
    assert plan.only([range(1)]).finished_shards == set()
    assert [shard.shard_index for shard in plan.open_shards] == [0]


def test_a_prompt_set_is_validated_once_in_the_life_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = []
    validate = prompt_set.validate_group

    def count(raw: Any, *more: Any, **how: Any) -> Any:
        validated.append(raw.values["group_id"])
        return validate(raw, *more, **how)

    monkeypatch.setattr(prompt_set, "validate_group", count)
    config = _config(tmp_path, [_row(n) for n in range(5)])
    assert _plan(config) == _plan(config)
    assert validated == [f"g{n}" for n in range(5)]


def test_what_is_refused_half_way_leaves_nothing_in_the_dataset(tmp_path: Path) -> None:
    rows = [*(_row(n) for n in range(4)), {"group_id": "bad", "prompts": ["alone"]}]
    config = _config(tmp_path, rows)
    strict = {"prompts": config.prompts.model_copy(update={"on_bad_row": "fail"})}
    with pytest.raises(PromptSetError, match="1 bad row"):
        _plan(config.model_copy(update=strict))
    assert [info.key for info in LocalStore(tmp_path / "pairs").list("work/")] == []


def test_a_set_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, [_row(n) for n in range(3)])
    read = module.read_prompt_set

    def read_and_change(*arguments: Any) -> Any:
        yield from read(*arguments)
        pq.write_table(pa.Table.from_pylist([_row(9)]), tmp_path / "set.parquet")

    monkeypatch.setattr(module, "read_prompt_set", read_and_change)
    with pytest.raises(PromptSetError, match="changed while it was read"):
        _plan(config)


def test_the_same_command_finds_its_own_work_on_another_device(tmp_path: Path) -> None:
    config = _config(tmp_path, [_row(0)])
    moved = _config(tmp_path, [_row(0)], generation={"device": "cpu", "batch_size": 3})
    elsewhere = replace(GENERATION, device_name="another")
    assert _plan(moved, elsewhere).run_id == _plan(config).run_id


@pytest.mark.parametrize("change", [{"schedule_id": "other"}, {"num_inference_steps": 3}])
def test_what_settings_resolve_to_names_the_run(tmp_path: Path, change: dict[str, object]) -> None:
    other = GenerationProvenance(**{**asdict(GENERATION), **change})  # type: ignore[arg-type]
    config = _config(tmp_path, [_row(0)])
    assert _plan(config).run_id != _plan(config, other).run_id


def test_a_mode_without_backgrounds_is_refused_where_they_are_to_be_stored(tmp_path: Path) -> None:
    output = {"uri": str(tmp_path / "pairs"), "store_background": True}
    config = _config(tmp_path, [_row(0)], output=output)
    with pytest.raises(ConfigError, match=r"mode log_bias makes no background.*mode region"):
        _plan(config, replace(GENERATION, coupling_mode="log_bias"))


def test_a_model_too_large_for_the_accelerator_is_refused_before_anything_is_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, [_row(0)])
    made = generation_of(config.generation)
    monkeypatch.setattr(needs, "choose_device", lambda _: "mps")
    monkeypatch.setattr(budget, "find_memory", lambda _: 2**20)
    with pytest.raises(ConfigError, match=r"on the device.*No setting makes it fit"):
        plan_run(config, made)
    monkeypatch.setattr(needs, "choose_device", lambda _: "cpu")  # another machine may generate
    assert plan_run(config, made).open_shards
