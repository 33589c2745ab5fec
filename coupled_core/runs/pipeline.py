"""Generate, store and score the batches of a shard, one batch behind the other.

While the calling thread generates a batch, those before it are encoded and stored by one thread and
scored by another. Where the cores are taken, the calling thread scores, too. The images of a batch
are stored before its scores, both whole: what is found there is complete, and belongs together.
After a kill only the batches under way are made again.

Before anything is spent the lease on the shard is looked at: who was paused for long may have lost
it. Progress is told by the calling thread alone, as it may answer with an exception.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from coupled_core.dataset.work import GENERATED, SCORED
from coupled_core.models.memory import is_out_of_memory
from coupled_core.progress import Progress
from coupled_core.records import GeneratedSample
from coupled_core.runs.checkpoints import ScoredSample, write_scored
from coupled_core.runs.shard import Batch, ShardWork
from coupled_core.runs.stages import (
    MadeOutcome,
    read_outcomes,
    score_sample,
    store_batch,
    take_over,
)
from coupled_core.scoring.content_filter import ContentFilter

if TYPE_CHECKING:  # they import diffusers, open_clip and Segment Anything, which takes long
    from coupled_core.generation.generator import GroupGenerator
    from coupled_core.scoring.pair_scorer import PairScorer

_logger = logging.getLogger(__name__)
_MOST_BEHIND = 2
"""Batches that wait to be stored or scored: their images lie in memory."""
_LOOK_SECONDS = 0.5
"""Between two looks at signals while there is nothing to do but wait."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ShardModels:
    """Loads the models of a shard's stages; each is asked only when there is work for it."""

    load_generator: "Callable[[], GroupGenerator]"
    load_scorer: "Callable[[], PairScorer]"
    load_content_filter: Callable[[], ContentFilter | None] = lambda: None
    """Asked together with `load_scorer`; None: images are not looked at."""
    may_score_beside: Callable[[], bool] = lambda: True
    """Asked with a batch to score; False: the generator waits while batches are scored."""


@dataclass(frozen=True)
class MadeBatches:
    """What it took to make the batches of one attempt."""

    num_generated: int = 0
    num_scored: int = 0


@dataclass(frozen=True)
class _Behind:
    """A batch that is generated, and not yet stored or scored."""

    batch: Batch
    outcomes: Mapping[str, MadeOutcome] | None
    """None: they are read from the work folder."""
    stored: Future[None] | None
    """None: it was found there."""
    scored: Future[None]
    is_second_try: bool = False
    """Scored again, this time without a generator at work."""

    def is_crowded(self) -> bool:
        """Say whether memory lacked for scoring and may suffice once nothing else is at work."""
        return (
            not self.is_second_try and self.scored.done() and _lacks_memory(self.scored.exception())
        )


def make_batches(
    work: ShardWork, models: ShardModels, progress: Progress, attempt: int = 1
) -> MadeBatches:
    """Make what neither this run nor its kin has stored of an attempt.

    Args:
        work: The shard, split, all earlier attempts scored.
        models: What makes and judges images.
        progress: Told the pairs of each batch under "generate" and "score".

    Raises:
        Exception: the first that any stage raised, as soon as it is known. What was generated until
            then is stored; what is being scored is given up.
    """
    batches = work.attempt(attempt).batches
    line = _Line(work, models, progress, batches)
    try:
        for number, batch in enumerate(batches, 1):
            line.make(number, batch)
        line.finish()
    finally:
        line.close()
    return MadeBatches(line.num_generated, line.num_scored)


class _Line:
    """The batches of one attempt on their way."""

    def __init__(
        self,
        work: ShardWork,
        models: ShardModels,
        progress: Progress,
        batches: Sequence[Batch],
    ) -> None:
        self._work, self._models, self._progress = work, models, progress
        self._batches = batches
        self._fits_beside = True
        # One thread each, so batches are stored and scored in their order, and one at a time.
        self._storing = ThreadPoolExecutor(1, "store")
        self._scoring = ThreadPoolExecutor(1, "score")
        self._behind: deque[_Behind] = deque()
        self._is_over = threading.Event()
        self.num_generated = self.num_scored = 0

    def make(self, number: int, batch: Batch) -> None:
        """Generate a batch unless it is there, and send it on its way."""
        keys, folder = list(batch.samples), self._work.folder
        outcomes = stored = None
        # Keys are compared, not only indices: with another batch size, batch 3 holds other samples.
        is_there = folder.read_keys(GENERATED, batch.index) == keys or take_over(self._work, batch)
        if not is_there:
            outcomes = self._generate(number, batch)
            stored = _submit(self._storing, self._store, batch, outcomes)
            self.num_generated += 1
        self._progress.advance("generate", batch.num_pairs, is_new=not is_there)
        if folder.read_keys(SCORED, batch.index) == keys:
            if stored is not None:
                stored.result()
            self._progress.advance("score", batch.num_pairs, is_new=False)
            return
        self._progress.within("score", 0.0, f"batch {number} of {len(self._batches)}")
        is_beside = self._fits_beside and self._models.may_score_beside()
        if is_beside:
            scored = _submit(self._scoring, self._score, batch, outcomes, stored)
        else:
            self._catch_up(0)
            scored = self._score_here(batch, outcomes, stored)
        self._behind.append(_Behind(batch, outcomes, stored, scored))
        self._catch_up(_MOST_BEHIND if is_beside else 0)

    def finish(self) -> None:
        """Return when everything is stored and scored."""
        self._catch_up(0)

    def close(self) -> None:
        """Store what was generated, give up what is being scored, and leave no thread behind."""
        # First the flag: the batch that is being scored ends after its present image.
        self._is_over.set()
        self._scoring.shutdown(wait=False, cancel_futures=True)
        # Images were paid for, so they are stored even if the run fails; scores can be made again.
        self._storing.shutdown()
        self._scoring.shutdown()

    def _generate(self, number: int, batch: Batch) -> dict[str, MadeOutcome]:
        with self._work.doing("generate", batch.index):
            generator = self._models.load_generator()  # may take minutes; the look comes after it
            self._work.require_lease()
            try:
                return self._generate_with(generator, number, batch)
            except Exception as error:
                # With nothing beside it, the generator itself needs too much, and says so.
                if not (self._behind and _lacks_memory(error)):
                    raise
                self._keep_apart(error)
            # Outside the except, where the failed try's tensors are no longer held by its
            # traceback.
            self._catch_up(0)
            return self._generate_with(generator, number, batch)

    def _generate_with(
        self, generator: "GroupGenerator", number: int, batch: Batch
    ) -> dict[str, MadeOutcome]:
        def tell(step: int, of: int) -> None:
            """One batch of a large model takes minutes, in which nothing else is heard of it."""
            where = f"step {step} of {of}" if step else "reading prompts"
            done = batch.num_pairs * step / of
            text = f"batch {number} of {len(self._batches)}, {where}"
            self._progress.within("generate", done, text)
            # A stage that failed ends the run at the next step, not after minutes of a batch in
            # vain.
            self._raise_failures(while_generating=True)

        tell(0, 1)
        # Text encoders may have to be loaded: then they read for the batches behind this one, too.
        later = self._batches[number - 1 :]
        generator.read_ahead([sample for each in later for sample in each.samples.values()])
        outcomes = generator.generate(list(batch.samples.values()), tell)
        return dict(zip(batch.samples, outcomes, strict=True))

    def _store(self, batch: Batch, outcomes: Mapping[str, MadeOutcome]) -> None:
        with self._work.doing("store", batch.index):
            store_batch(self._work, batch, outcomes)

    def _score(
        self,
        batch: Batch,
        outcomes: Mapping[str, MadeOutcome] | None,
        stored: Future[None] | None,
        answer: Callable[[], None] = lambda: None,
    ) -> None:
        """Score a batch; `answer` is called before each sample."""
        with self._work.doing("score", batch.index):
            self._work.require_lease()
            outcomes = outcomes or read_outcomes(self._work, batch)
            scored: dict[str, ScoredSample | None] = dict.fromkeys(outcomes)
            made = {k: each for k, each in outcomes.items() if isinstance(each, GeneratedSample)}
            judges = self._judges() if made else None
            for key, generated in made.items():
                if self._is_over.is_set():
                    return
                answer()
                assert judges is not None, "there is something to judge"
                scored[key] = score_sample(*judges, batch.samples[key], generated)
            if stored is not None:
                stored.result()  # scores must not be found without their images
            write_scored(self._work.folder, batch.index, scored)

    def _score_here(
        self,
        batch: Batch,
        outcomes: Mapping[str, MadeOutcome] | None,
        stored: Future[None] | None,
    ) -> Future[None]:
        """Score a batch in the calling thread, and return what became of it.

        On a CPU torch gives every thread that computes a pool of its own, as large as the machine.
        Those that have nothing to do wait busily for a while, and take cores from those that have.
        """
        found: Future[None] = Future()
        try:
            # Progress answers where a signal told us to end.
            self._score(batch, outcomes, stored, lambda: self._progress.advance("store", 0))
        except Exception as error:  # raised again by whoever asks for the result
            found.set_exception(error)
        else:
            found.set_result(None)
        return found

    def _judges(self) -> "tuple[PairScorer, ContentFilter | None]":
        return self._models.load_scorer(), self._models.load_content_filter()

    def _catch_up(self, most: int) -> None:
        """Wait until at most so many batches are behind."""
        self._raise_failures()
        while len(self._behind) > most:
            first = self._behind[0]
            # With a limit, since a wait without one would not let signals through.
            wait([first.scored], _LOOK_SECONDS)
            self._progress.advance("store", 0)  # answers where a signal told us to end
            self._raise_failures()
            if first.is_crowded():
                self._keep_apart(first.scored.exception())
                scored = _submit(
                    self._scoring, self._score, first.batch, first.outcomes, first.stored
                )
                self._behind[0] = replace(first, scored=scored, is_second_try=True)
            elif first.scored.done():
                self._behind.popleft()
                self.num_scored += 1
                self._progress.advance("score", first.batch.num_pairs)

    def _raise_failures(self, *, while_generating: bool = False) -> None:
        """Raise what a stage has failed with, however many batches are before it.

        Args:
            while_generating: Leave a lack of memory for later: the generator would take it for its
                own, and go on with smaller batches.
        """
        for each in self._behind:
            for future in (each.stored, each.scored):
                if future is None or not future.done() or future.exception() is None:
                    continue
                is_for_later = while_generating and _lacks_memory(future.exception())
                # What is crowded is scored again by `_catch_up`.
                if not (is_for_later or (future is each.scored and each.is_crowded())):
                    future.result()

    def _keep_apart(self, error: BaseException | None) -> None:
        self._fits_beside = False
        cause = str(error).partition("\n")[0]
        _logger.warning(
            "generating and scoring do not fit into memory side by side (%s): from here on one "
            "waits for the other, with the same results", cause,
        )  # fmt: skip


def _submit(
    executor: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> Future[R]:
    """Run something in a thread that knows who listens and what log records are about."""
    # Context variables do not pass into threads by themselves.
    return executor.submit(copy_context().run, partial(work, *args, **kwargs))


def _lacks_memory(error: BaseException | None) -> bool:
    """Say whether an error, or the one that it translates, is a lack of memory."""
    # Our own errors are raised from the library's.
    return error is not None and any(
        is_out_of_memory(each) for each in (error, error.__cause__) if each is not None
    )
