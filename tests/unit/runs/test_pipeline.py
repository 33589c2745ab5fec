"""Batches of a shard behind one another: what runs side by side, and what is left after an end."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coupled_core.dataset.work import GENERATED, SCORED, WorkFolder
from coupled_core.errors import StorageError, stage_of
from coupled_core.generation.sampler import OnStep
from coupled_core.progress import SilentProgress
from coupled_core.records import GeneratedSample, Rejection, Sample
from coupled_core.runs.pipeline import MadeBatches, ShardModels, make_batches
from coupled_core.runs.shard import ShardWork
from tests.unit.runs.shard_samples import SquareGenerator, SquareScorer, split_work

_SECONDS = 20.0


class SteppingGenerator(SquareGenerator):
    """Reports steps of its last batch until somebody stops it, or for long."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def generate(
        self, samples: Sequence[Sample], on_step: OnStep | None = None
    ) -> list[GeneratedSample | Rejection]:
        if len(self.batches) == self.last:
            assert on_step is not None
            pause = threading.Event()
            for step in range(int(_SECONDS * 100)):
                pause.wait(0.01)
                on_step(step + 1, 10_000)
        return super().generate(samples)


class FailingScorer(SquareScorer):
    """Raises what it is told for some calls, counted from 0."""

    def __init__(self, error: Exception, *calls: int) -> None:
        super().__init__()
        self.error, self.calls, self.num_calls = error, calls, 0

    def score(self, sample: Sample, generated: GeneratedSample, image_embeddings: Any) -> Any:
        self.num_calls += 1
        if self.num_calls - 1 in self.calls:
            raise self.error
        return super().score(sample, generated, image_embeddings)


@dataclass
class Meeting(SquareScorer):
    """A scorer that waits at its first sample until a generator has come to a batch."""

    met: threading.Event = field(default_factory=threading.Event)
    is_in_time: bool = True
    num_scored: int = 0

    def score(self, sample: Sample, generated: GeneratedSample, image_embeddings: Any) -> Any:
        self.is_in_time &= self.met.wait(_SECONDS)
        return super().score(sample, generated, image_embeddings)


def _make(work: ShardWork, generator: Any, scorer: Any, **options: Any) -> MadeBatches:
    models = ShardModels(lambda: generator, lambda: scorer, **options)
    return make_batches(work, models, SilentProgress())


def _tables(work: ShardWork) -> list[Any]:
    return [
        work.folder.read_table(stage, index)
        for stage in (GENERATED, SCORED)
        for index in range(len(work.attempt(1).batches))
    ]


def test_a_batch_is_scored_while_the_next_one_is_generated(tmp_path: Path) -> None:
    scorer = Meeting()

    class Generator(SquareGenerator):
        def generate(self, samples: Sequence[Sample], on_step: OnStep | None = None) -> Any:
            if self.batches:
                scorer.met.set()
            return super().generate(samples, on_step)

    assert _make(split_work(tmp_path, 5), Generator(), scorer) == MadeBatches(3, 3)
    assert scorer.is_in_time


def test_a_generator_is_told_of_what_is_still_to_come_and_not_of_what_is_stored(
    tmp_path: Path,
) -> None:
    work = split_work(tmp_path, 6)
    with pytest.raises(RuntimeError, match="out of memory"):
        _make(work, SquareGenerator(dies_at_batch=1), SquareScorer())
    generator = SquareGenerator()
    _make(work, generator, SquareScorer())
    assert generator.announced == [[2, 3, 4, 5], [4, 5]]


def test_side_by_side_and_one_after_the_other_store_the_same(tmp_path: Path) -> None:
    found = []
    for name, beside in (("beside", True), ("after", False)):
        work = split_work(tmp_path / name, 7)
        generator = SquareGenerator(failing_seeds=[3])
        _make(work, generator, SquareScorer(), may_score_beside=lambda beside=beside: beside)
        found.append(_tables(work))
    assert found[0] == found[1]


def test_where_the_cores_are_taken_the_generator_waits_for_the_scores(tmp_path: Path) -> None:
    work, scorer, seen = split_work(tmp_path, 5), SquareScorer(), []

    class Generator(SquareGenerator):
        def generate(self, samples: Sequence[Sample], on_step: OnStep | None = None) -> Any:
            seen.append(scorer.num_scored)
            return super().generate(samples, on_step)

    _make(work, Generator(), scorer, may_score_beside=lambda: False)
    assert seen == [0, 2, 4]


def test_where_the_cores_are_taken_scores_are_computed_by_the_thread_that_generates(
    tmp_path: Path,
) -> None:
    threads = set()

    class Scorer(SquareScorer):
        def score(self, sample: Sample, generated: GeneratedSample, image_embeddings: Any) -> Any:
            threads.add(threading.get_ident())
            return super().score(sample, generated, image_embeddings)

    _make(split_work(tmp_path, 5), SquareGenerator(), Scorer(), may_score_beside=lambda: False)
    assert threads == {threading.get_ident()}


def test_who_is_told_to_end_while_it_scores_ends_before_the_next_sample(tmp_path: Path) -> None:
    scorer = SquareScorer()

    class Progress(SilentProgress):
        def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
            if stage == "store" and scorer.num_scored == 1:
                raise InterruptedError("told to end")

    models = ShardModels(SquareGenerator, lambda: scorer, may_score_beside=lambda: False)
    work = split_work(tmp_path, 5)
    with pytest.raises(InterruptedError, match="told to end"):
        make_batches(work, models, Progress())
    assert scorer.num_scored == 1
    assert work.folder.read_table(GENERATED, 0) is not None


def test_only_a_few_batches_lie_in_memory_while_scoring_lags(tmp_path: Path) -> None:
    scorer, ahead = Meeting(), []

    class Generator(SquareGenerator):
        def generate(self, samples: Sequence[Sample], on_step: OnStep | None = None) -> Any:
            ahead.append(len(self.batches) - scorer.num_scored // 2)
            return super().generate(samples, on_step)

    timer = threading.Timer(1.0, scorer.met.set)
    timer.start()
    _make(split_work(tmp_path, 12), Generator(), scorer)
    timer.join()
    assert 1 <= max(ahead) <= 3


def test_what_fails_while_scored_ends_the_batch_under_way_and_says_where_it_happened(
    tmp_path: Path,
) -> None:
    work = split_work(tmp_path, 8)
    scorer = FailingScorer(ZeroDivisionError("no pixels"), 2)
    with pytest.raises(ZeroDivisionError) as caught:
        _make(work, SteppingGenerator(last=3), scorer)
    assert stage_of(caught.value) == "score"
    assert caught.value.__notes__ == ["stage score, shard 00000, batch 1"]
    assert work.folder.batches(GENERATED) == [0, 1, 2]
    assert 1 not in work.folder.batches(SCORED)


def test_scores_are_not_stored_where_their_images_could_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, write_table = split_work(tmp_path, 6), WorkFolder.write_table

    def write(folder: WorkFolder, stage: str, batch: int, table: Any) -> None:
        if (stage, batch) == (GENERATED, 1):
            raise StorageError("the disk is full")
        write_table(folder, stage, batch, table)

    monkeypatch.setattr(WorkFolder, "write_table", write)
    with pytest.raises(StorageError, match="disk is full"):
        _make(work, SquareGenerator(), SquareScorer())
    assert 1 not in work.folder.batches(SCORED)


def test_an_interrupt_keeps_what_was_generated_and_leaves_no_thread_behind(tmp_path: Path) -> None:
    class Interrupting(SilentProgress):
        def within(self, stage: str, done: float, text: str) -> None:
            if text == "batch 3 of 4, step 2 of 10000":
                raise KeyboardInterrupt

    work, threads = split_work(tmp_path, 8), threading.active_count()
    scorer = Meeting()
    threading.Timer(0.5, scorer.met.set).start()
    generator = SteppingGenerator(last=2)
    with pytest.raises(KeyboardInterrupt):
        make_batches(work, ShardModels(lambda: generator, lambda: scorer), Interrupting())
    assert work.folder.batches(GENERATED) == [0, 1]
    assert threading.active_count() == threads
    again = SquareGenerator()
    assert _make(split_work(tmp_path, 8), again, SquareScorer()).num_generated == 2
    assert again.batches == [[4, 5], [6, 7]]


def test_a_worker_that_lost_its_lease_stores_no_scores(tmp_path: Path) -> None:
    work = split_work(tmp_path, 4)
    looks = iter([None, StorageError("lost")])

    def look() -> None:
        if error := next(looks, StorageError("lost")):
            raise error

    work.require_lease = look
    with pytest.raises(StorageError, match="lost"):
        _make(work, SquareGenerator(), SquareScorer())
    assert work.folder.batches(SCORED) == []


def test_where_memory_lacks_side_by_side_one_waits_for_the_other(tmp_path: Path) -> None:
    expected = split_work(tmp_path / "roomy", 6)
    _make(expected, SquareGenerator(), SquareScorer())
    work = split_work(tmp_path / "tight", 6)
    scorer = FailingScorer(MemoryError("out of memory"), 0)
    assert _make(work, SquareGenerator(), scorer) == MadeBatches(3, 3)
    assert _tables(work) == _tables(expected)


def test_a_generator_never_hears_that_memory_lacked_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Generator(SquareGenerator):
        def generate(self, samples: Sequence[Sample], on_step: OnStep | None = None) -> Any:
            assert on_step is not None
            if self.batches:
                failed.wait(_SECONDS)
            try:
                on_step(1, 2)
            except MemoryError as error:
                raise AssertionError("it would make its batches smaller") from error
            return super().generate(samples)

    failed = threading.Event()

    def store(*_: Any) -> None:
        threading.Timer(0.2, failed.set).start()
        raise MemoryError("cannot allocate memory")

    monkeypatch.setattr("coupled_core.runs.pipeline.store_batch", store)
    with pytest.raises(MemoryError):
        _make(split_work(tmp_path, 4), Generator(), SquareScorer())


def test_memory_that_does_not_suffice_for_scoring_alone_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        _make(
            split_work(tmp_path, 2), SquareGenerator(), FailingScorer(MemoryError("none"), 0, 1, 2)
        )


def test_the_trace_tells_when_each_batch_was_in_which_stage(tmp_path: Path) -> None:
    work = split_work(tmp_path, 3)
    _make(work, SquareGenerator(), SquareScorer())
    spans = {(span.stage, span.batch): span for span in work.trace.spans}
    assert set(spans) == {(s, b) for s in ("generate", "store", "score") for b in (0, 1)}
    assert all(spans["generate", b].ended <= spans["store", b].began for b in (0, 1))
    total = sum(span.ended - span.began for span in spans.values())
    assert np.isclose(sum(work.trace.seconds().values()), total)


def test_a_worker_that_lost_its_lease_generates_nothing(tmp_path: Path) -> None:
    def lose() -> None:
        raise StorageError("lost")

    work, generator = split_work(tmp_path, 4), SquareGenerator()
    work.require_lease = lose
    with pytest.raises(StorageError, match="lost"):
        _make(work, generator, SquareScorer())
    assert generator.batches == []
