"""Groups that lack kept pairs are tried again with other seeds, and the best attempt is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from coupled_core.dataset.reader import iter_manifest
from coupled_core.progress import SilentProgress
from coupled_core.records import GeneratedSample, PromptGroup, Sample
from coupled_core.runs.identity import attempt_seed
from coupled_core.runs.pipeline import ShardModels, make_batches
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.write import write_shard
from tests.sample_shards import sample_run_facts
from tests.unit.runs.shard_samples import (
    SquareGenerator,
    SquareScorer,
    make_group,
    make_split,
    open_work,
)

Score = Callable[[Sample, tuple[int, int]], float]
"""The combined metric of a pair of a sample; 1 and more passes."""
PASSES, FAILS = 2.0, 0.0


@dataclass
class _GivenScores(SquareScorer):
    """Measures masks for real and takes the combined metric as given."""

    score_of: Score

    def score(self, sample: Sample, generated: GeneratedSample, *more: Any) -> Any:
        masks, scores = super().score(sample, generated, *more)
        return masks, {
            pair: replace(found, combined=self.score_of(sample, pair))
            for pair, found in scores.items()
        }

    def __post_init__(self) -> None:
        super().__init__()


@dataclass(frozen=True)
class _Shard:
    """A shard of split groups in a folder, and the stages of `build_shard` over it."""

    folder: Path
    groups: Sequence[PromptGroup]
    selection: Mapping[str, Any]

    def open(self) -> ShardWork:
        work = open_work(
            self.folder,
            self.groups,
            filter={"min_combined": 1.0, "min_pixel_mse": 0.0},
            selection=self.selection,
        )
        if work.find_outcomes() is None:
            splits = (replace(make_split(group), llm_cost_usd=0.6) for group in self.groups)
            work.keep_outcomes(tuple(splits))
        return work

    def make(self, generator: SquareGenerator, score_of: Score) -> None:
        work, silent = self.open(), SilentProgress()
        for attempt in range(1, work.config.selection.attempts + 1):
            if not work.attempt(attempt).samples:
                break
            models = ShardModels(lambda: generator, lambda: _GivenScores(score_of))
            make_batches(work, models, silent, attempt)

    def finish(self) -> list[Mapping[str, Any]]:
        work = self.open()
        written = write_shard(work, sample_run_facts("run"))
        return [row for b in iter_manifest(work.store, written.parts) for row in b.to_pylist()]


def _shard(tmp_path: Path, num_groups: int = 1, num_prompts: int = 2, **selection: Any) -> _Shard:
    num_seeds = selection.pop("num_seeds", 1)
    groups = [
        make_group(number, num_prompts, num_seeds=num_seeds, seed=number * 10)
        for number in range(num_groups)
    ]
    return _Shard(tmp_path, groups, selection)


def _build(shard: _Shard, score_of: Score) -> tuple[list[list[int]], list[Mapping[str, Any]]]:
    """Return the seeds of each batch that was generated, and the rows."""
    generator = SquareGenerator()
    shard.make(generator, score_of)
    return generator.batches, shard.finish()


def test_only_groups_that_lack_kept_pairs_are_tried_again_and_together(tmp_path: Path) -> None:
    def score_of(sample: Sample, _: tuple[int, int]) -> float:
        return PASSES if sample.seed == 10 or sample.attempt == 2 else FAILS

    batches, rows = _build(_shard(tmp_path, 4, attempts=3), score_of)
    again = [attempt_seed(seed, 2) for seed in (0, 20, 30)]
    assert batches == [[0, 10], [20, 30], again[:2], again[2:]]
    assert sorted((row["attempt"], row["kept"]) for row in rows) == (
        [(1, False)] * 3 + [(1, True)] + [(2, True)] * 3
    )


def test_one_attempt_keeps_every_pair_that_passes(tmp_path: Path) -> None:
    batches, rows = _build(_shard(tmp_path, 2, num_seeds=2), lambda *_: PASSES)
    assert batches == [[0, 1], [10, 11]]
    assert [row["kept"] for row in rows] == [True] * 4


def test_every_attempt_is_a_row_and_the_best_of_all_is_kept(tmp_path: Path) -> None:
    scores = {1: 1.2, 2: 1.5, 3: 0.3}
    _, rows = _build(
        _shard(tmp_path, 2, attempts=3, early_stop=False), lambda sample, _: scores[sample.attempt]
    )
    found = [(r["group_id"], r["attempt"], r["kept"], r["reject_reasons"]) for r in rows]
    for group in ("group-0", "group-1"):
        assert (group, 1, False, ["not_best"]) in found
        assert (group, 2, True, []) in found
        assert (group, 3, False, ["below_min_combined"]) in found
    assert len({row["pair_id"] for row in rows}) == len(rows) == 6


def test_a_quota_keeps_the_best_of_the_seeds_that_are_requested(tmp_path: Path) -> None:
    _, rows = _build(
        _shard(tmp_path, num_seeds=3, quota=1), lambda sample, _: 1 + sample.seed % 10 / 10
    )
    assert [(r["seed"], r["kept"], r["reject_reasons"]) for r in rows] == [
        (0, False, ["not_best"]),
        (1, False, ["not_best"]),
        (2, True, []),
    ]


def test_a_group_is_tried_again_for_the_one_edit_that_it_lacks(tmp_path: Path) -> None:
    def score_of(sample: Sample, pair: tuple[int, int]) -> float:
        if sample.attempt == 1:
            return FAILS if pair == (1, 2) else 1.5
        return PASSES if pair == (0, 2) else 1.1

    _, rows = _build(_shard(tmp_path, num_prompts=3, attempts=4), score_of)
    kept = {(r["image_index_0"], r["image_index_1"]): r["attempt"] for r in rows if r["kept"]}
    assert kept == {(0, 1): 1, (0, 2): 2, (1, 2): 2}
    assert len(rows) == 6


def test_a_sample_that_could_not_be_generated_gets_another_seed(tmp_path: Path) -> None:
    shard = _shard(tmp_path, attempts=2)
    shard.make(SquareGenerator(failing_seeds=[0]), lambda *_: PASSES)
    rows = shard.finish()
    assert [(r["attempt"], r["status"], r["kept"]) for r in sorted(rows, key=_attempt_of)] == [
        (1, "failed", False),
        (2, "ok", True),
    ]


def test_a_killed_shard_makes_no_stored_batch_again(tmp_path: Path) -> None:
    shard = _shard(tmp_path / "killed", 4, attempts=2)
    with pytest.raises(RuntimeError):
        shard.make(SquareGenerator(dies_at_batch=3), lambda *_: FAILS)
    rest = SquareGenerator()
    shard.make(rest, lambda *_: FAILS)
    assert rest.batches == [[attempt_seed(seed, 2) for seed in (20, 30)]]
    undisturbed = _shard(tmp_path / "undisturbed", 4, attempts=2)
    _, expected = _build(undisturbed, lambda *_: FAILS)
    assert shard.finish() == expected


def test_more_attempts_leave_those_before_as_they_were(tmp_path: Path) -> None:
    few, many = (
        _build(_shard(tmp_path / str(n), 2, attempts=n), lambda *_: FAILS)[1] for n in (2, 3)
    )
    ids = {row["pair_id"]: row["seed"] for row in many}
    assert {row["pair_id"]: row["seed"] for row in few}.items() < ids.items()


def test_the_cost_of_a_split_is_counted_once(tmp_path: Path) -> None:
    _, rows = _build(_shard(tmp_path, num_seeds=2, attempts=3), lambda *_: FAILS)
    assert len(rows) == 6
    assert sum(row["llm_cost_usd"] for row in rows) == pytest.approx(0.6)


def test_seeds_of_attempts_are_fixed_and_apart() -> None:
    assert attempt_seed(7, 1) == 7
    assert attempt_seed(7, 2) == 3262119397788162
    seeds = sorted(attempt_seed(seed, attempt) for seed in range(1000) for attempt in range(1, 9))
    assert all(first < second for first, second in pairwise(seeds))


def _attempt_of(row: Mapping[str, Any]) -> int:
    return int(row["attempt"])
