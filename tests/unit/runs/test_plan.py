"""Plans over real groups and an empty folder."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from coupled_core.config import GenerationConfig, OutputConfig, RunConfig
from coupled_core.dataset.work import WorkFolder
from coupled_core.generation.provenance import GenerationProvenance
from coupled_core.id_set import IdSet
from coupled_core.prompts.prompt_set import PromptFileSummary, PromptSetSummary
from coupled_core.records import GroupSplit, PromptGroup, QuarantinedRow
from coupled_core.runs.checkpoints.splits import SplitShard
from coupled_core.runs.plan import PromptItem, RunPlan, build_samples, name_samples, plan_run
from coupled_core.storage.local import LocalStore
from tests.unit.runs.shard_samples import make_group, make_split

GENERATION = GenerationProvenance(
    base_model="toy",
    base_model_revision="1",
    schedule_id="s",
    coupling_mode="log_bias",
    num_inference_steps=2,
    guidance_scale=0.0,
    width=32,
    height=32,
    max_sequence_length=16,
    dtype="float32",
    device_name="cpu",
    license="none",
    use_restrictions="none",
    entity_text="full_prompt",
)
CONFIG = RunConfig(output=OutputConfig(shard_size=2))


def _request(group: PromptGroup) -> str:
    return make_split(group).request_sha256


def _plan(
    tmp_path: Path,
    items: list[PromptItem],
    committed: list[str] | None = None,
    config: RunConfig = CONFIG,
    generation: GenerationProvenance = GENERATION,
) -> RunPlan:
    summary = PromptSetSummary(len(items), 0, 0, (PromptFileSummary("set", "etag", len(items)),))
    return plan_run(
        config,
        iter(items),
        summary,
        generation,
        split_request=_request,
        splitter_identity="offline/1",
        committed=IdSet([committed] if committed else []),
        store=LocalStore(tmp_path),
    )


def _ids(group: PromptGroup) -> list[list[str]]:
    names = name_samples(CONFIG, GENERATION, _request)
    return [list(ids.values()) for _, ids in names.list_samples(group)]


def test_shards_are_offsets_of_the_input_in_order(tmp_path: Path) -> None:
    plan = _plan(tmp_path, [make_group(n) for n in range(5)])
    assert [(s.shard_index, s.first_item, s.num_items, s.num_pairs) for s in plan.shards] == [
        (0, 0, 2, 2),
        (1, 2, 2, 2),
        (2, 4, 1, 1),
    ]


def test_pairs_count_for_each_seed(tmp_path: Path) -> None:
    plan = _plan(tmp_path, [make_group(0, num_prompts=3, num_seeds=4)])
    assert plan.num_pairs == plan.shards[0].num_pairs == 12


def test_a_shard_that_the_dataset_holds_is_left_out(tmp_path: Path) -> None:
    groups = [make_group(n) for n in range(4)]
    committed = [pair for group in groups[:2] for ids in _ids(group) for pair in ids]
    plan = _plan(tmp_path, [*groups], committed)
    assert [shard.shard_index for shard in plan.shards] == [1]
    assert (plan.num_pairs, plan.num_pairs_done) == (4, 2)


def test_only_new_seeds_of_a_group_are_made(tmp_path: Path) -> None:
    group = make_group(0, num_seeds=3)
    first, *_ = _ids(group)
    plan = _plan(tmp_path, [group], first)
    assert plan.shards[0].done_samples == (0,)
    names = name_samples(CONFIG, GENERATION, _request)
    shard = SplitShard((group,), (make_split(group),), ())
    samples, _ = build_samples(shard, plan.shards[0], names)
    assert len(samples) == 2
    assert first[0] not in samples


def test_the_ids_of_a_plan_are_those_of_the_splits(tmp_path: Path) -> None:
    group = make_group(0)
    names = name_samples(CONFIG, GENERATION, _request)
    plan = _plan(tmp_path, [group])
    split = make_split(group)
    assert isinstance(split, GroupSplit)
    samples, _ = build_samples(SplitShard((group,), (split,), ()), plan.shards[0], names)
    assert list(samples) == [_ids(group)[0][0]]


def test_a_new_bad_row_is_new_work_and_a_known_one_is_not(tmp_path: Path) -> None:
    from coupled_core.runs.identity import quarantined_id

    group, bad = make_group(0), QuarantinedRow("set.parquet", 1, None, "empty")
    known = [pair for ids in _ids(group) for pair in ids]
    assert len(_plan(tmp_path, [group, bad], known).shards) == 1
    row = quarantined_id(source_file="set.parquet", source_row=1, message="empty")
    assert _plan(tmp_path, [group, bad], [*known, row]).shards == ()


def test_finished_shards_are_found_by_their_marker(tmp_path: Path) -> None:
    groups: list[PromptItem] = [make_group(n) for n in range(4)]
    name = _plan(tmp_path, groups).run_id
    WorkFolder(LocalStore(tmp_path), name, 1).write_done({})
    plan = _plan(tmp_path, groups)
    assert plan.finished_shards == {1}
    assert [shard.shard_index for shard in plan.open_shards] == [0]


def test_the_same_command_finds_its_own_work_on_another_device(tmp_path: Path) -> None:
    moved = CONFIG.model_copy(update={"generation": GenerationConfig(device="cpu", batch_size=3)})
    elsewhere = replace(GENERATION, device_name="another")
    items: list[PromptItem] = [make_group(0)]
    expected = _plan(tmp_path, items).run_id
    assert _plan(tmp_path, items, config=moved, generation=elsewhere).run_id == expected


@pytest.mark.parametrize("change", [{"schedule_id": "other"}, {"num_inference_steps": 3}])
def test_what_settings_resolve_to_names_the_run(tmp_path: Path, change: dict[str, object]) -> None:
    other = GenerationProvenance(**{**asdict(GENERATION), **change})  # type: ignore[arg-type]
    items: list[PromptItem] = [make_group(0)]
    assert _plan(tmp_path, items).run_id != _plan(tmp_path, items, generation=other).run_id
