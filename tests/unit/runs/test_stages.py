"""The stages of a shard over a real work folder: what is stored is not done again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import LeaseLostError
from coupled_core.progress import SilentProgress
from coupled_core.records import QuarantinedRow, Rejection
from coupled_core.runs.checkpoints import EncodedSample, parse_generated
from coupled_core.runs.pipeline import MadeBatches, ShardModels, make_batches
from coupled_core.runs.selection import count_decisions
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.stages import split_shard
from coupled_core.splitting.offline import OfflineSplitter
from tests.unit.runs.shard_samples import (
    SquareGenerator,
    SquareScorer,
    make_group,
    open_work,
    split_work,
)


def _make(
    work: ShardWork, generator: SquareGenerator, scorer: SquareScorer | None = None
) -> MadeBatches:
    models = ShardModels(lambda: generator, lambda: scorer or SquareScorer())
    return make_batches(work, models, SilentProgress())


def _refuse() -> Any:
    raise AssertionError("a model was loaded")


def test_a_shard_that_died_goes_on_with_the_batch_at_which_it_died(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _make(split_work(tmp_path, 5), SquareGenerator(dies_at_batch=2))
    second = SquareGenerator()
    assert _make(split_work(tmp_path, 5), second).num_generated == 1
    assert second.batches == [[4]]


def test_a_finished_shard_loads_no_model(tmp_path: Path) -> None:
    _make(split_work(tmp_path, 3), SquareGenerator())
    made = make_batches(split_work(tmp_path, 3), ShardModels(_refuse, _refuse), SilentProgress())
    assert made == MadeBatches(0, 0)


def test_who_has_lost_the_lease_pays_for_no_split(tmp_path: Path) -> None:
    def lose() -> None:
        raise LeaseLostError("another process goes on with the shard")

    work = open_work(tmp_path, [make_group(0)])
    work.require_lease = lose
    with pytest.raises(LeaseLostError):
        split_shard(work, OfflineSplitter())
    assert work.find_outcomes() is None


def _with_kin(work: ShardWork, run_id: str) -> ShardWork:
    """Return the same shard as another run plans it, whose judge was misspelt before."""
    plan = replace(work.plan, run_id=run_id, kin=(work.plan.run_id,))
    other = ShardWork(work.config, plan, work.generation)
    other.__dict__["input"] = work.input
    other.keep_outcomes(work.outcomes)
    return other


def test_images_of_a_run_with_another_judge_are_taken_over_and_stay_without_it(
    tmp_path: Path,
) -> None:
    first = split_work(tmp_path, 5)
    with pytest.raises(RuntimeError):
        _make(first, SquareGenerator(dies_at_batch=2))
    second, generator = _with_kin(first, "f" * 16), SquareGenerator()
    assert _make(second, generator) == MadeBatches(1, 3)
    assert generator.batches == [[4]]
    first.store.delete(f"{first.folder.prefix}generated/batch-00000.parquet")
    assert count_decisions(second.decisions)["kept"] == 5


def test_images_of_other_samples_are_not_taken_over(tmp_path: Path) -> None:
    first = split_work(tmp_path, 4, done_samples=(0,))
    _make(first, SquareGenerator())
    second = _with_kin(split_work(tmp_path, 4), "f" * 16)
    assert _make(second, SquareGenerator()).num_generated == 2


def test_batches_of_other_samples_are_generated_again(tmp_path: Path) -> None:
    _make(split_work(tmp_path, 4), SquareGenerator())
    again = _make(split_work(tmp_path, 4, done_samples=(0,)), SquareGenerator())
    assert again.num_generated == 2


def test_batches_of_other_samples_are_scored_again_even_where_those_scored_are_among_them(
    tmp_path: Path,
) -> None:
    work = split_work(tmp_path, 3)
    _make(work, SquareGenerator(failing_seeds=[2]))
    again, scorer = split_work(tmp_path, 4, done_samples=(0, 1)), SquareScorer()
    assert _make(again, SquareGenerator(), scorer).num_scored == 1
    assert scorer.num_scored == 2


def test_stored_images_are_the_generated_ones(tmp_path: Path) -> None:
    work, generator = split_work(tmp_path, 1), SquareGenerator()
    _make(work, generator)
    (stored,) = parse_generated(work.folder.read_table("generated", 0)).values()
    assert isinstance(stored, EncodedSample)
    (expected,) = generator.generate(list(work.attempt(1).samples.values()))
    assert not isinstance(expected, Rejection)
    for image, original in zip(stored.decode().images, expected.images, strict=True):
        assert (image == original).all()


def test_a_group_that_could_not_be_generated_is_passed_over_by_the_later_stages(
    tmp_path: Path,
) -> None:
    work, scorer = split_work(tmp_path, 3), SquareScorer()
    assert _make(work, SquareGenerator(failing_seeds=[1]), scorer).num_scored == 2
    assert scorer.num_scored == 2
    assert count_decisions(work.decisions)["kept"] == 2


def test_scored_batches_are_not_scored_again(tmp_path: Path) -> None:
    work = split_work(tmp_path, 3)
    _make(work, SquareGenerator(failing_seeds=[1]))
    again = SquareScorer()
    assert _make(split_work(tmp_path, 3), SquareGenerator(), again).num_scored == 0
    assert again.num_scored == 0


def test_batches_that_were_generated_by_an_earlier_start_are_scored_from_what_is_stored(
    tmp_path: Path,
) -> None:
    whole, half = split_work(tmp_path / "whole", 3), split_work(tmp_path / "half", 3)
    for work in (whole, half):
        _make(work, SquareGenerator())
    for index in (0, 1):
        half.store.delete(f"{half.folder.prefix}scored/batch-{index:05d}.parquet")
    assert make_batches(
        split_work(tmp_path / "half", 3), ShardModels(_refuse, SquareScorer), SilentProgress()
    ) == MadeBatches(0, 2)
    for index in (0, 1):
        expected = whole.folder.read_table("scored", index)
        assert half.folder.read_table("scored", index) == expected


def test_other_thresholds_decide_anew_without_scoring(tmp_path: Path) -> None:
    work = split_work(tmp_path, 2)
    _make(work, SquareGenerator())
    stricter = split_work(tmp_path, 2, filter={"min_combined": 1e9, "min_pixel_mse": 0.0})
    assert count_decisions(stricter.decisions) == {"below_min_combined": 2, "kept": 0}


def test_what_was_just_made_is_read_once_to_decide_on_further_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[str, int]] = []
    read_table = WorkFolder.read_table

    def count(folder: WorkFolder, stage: str, batch: int) -> object:
        reads.append((stage, batch))
        return read_table(folder, stage, batch)

    monkeypatch.setattr(WorkFolder, "read_table", count)
    work = split_work(tmp_path, 3, selection={"attempts": 3, "early_stop": False})
    for attempt in (1, 2, 3):
        make_batches(work, ShardModels(SquareGenerator, SquareScorer), SilentProgress(), attempt)
    assert len(work.decisions) == 9
    assert reads == [("scored", n) for n in range(6)]


def test_a_split_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    prompts = ("a red fox in a snowy forest at dawn", "a grey owl in a snowy forest at dawn")
    good = make_group(0, extra={"weight": 1.5}, seed=7)
    groups = [
        type(good)(**{**vars(good), "prompts": prompts}),
        type(good)(**{**vars(good), "prompts": ("a red fox asleep", "two boats under the moon")}),
    ]
    bad = QuarantinedRow("set.parquet", 9, None, "column prompts: got null")
    work = open_work(tmp_path, [*groups, bad])
    assert split_shard(work, OfflineSplitter()) == 1
    again = open_work(tmp_path, [*groups, bad])
    assert again.find_outcomes() == work.outcomes
    assert isinstance(again.outcomes[1], Rejection)
    assert [planned.group for planned in again.input.groups] == groups
    assert [planned.row for planned in again.input.bad_rows] == [bad]
