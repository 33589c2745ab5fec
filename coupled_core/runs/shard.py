"""One shard of a run at work: what was planned for it, and what its stages have found so far."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from coupled_core.config import RunConfig
from coupled_core.dataset.best_pairs import Edit, unmet_edits
from coupled_core.dataset.work import SCORED, WorkFolder, batch_name, list_work
from coupled_core.errors import StorageError, at_stage, stage_of
from coupled_core.generation.provenance import GenerationProvenance
from coupled_core.log_fields import log_fields
from coupled_core.records import GroupSplit, Rejection, Sample, SplitOutcome
from coupled_core.runs.checkpoints import (
    SPLIT,
    ScoredSample,
    missing_batch,
    parse_scored,
    read_splits,
    write_splits,
)
from coupled_core.runs.identity import attempt_seed
from coupled_core.runs.plan import RunPlan, ShardPlan, fingerprint_of, plan_sample
from coupled_core.runs.planned import PairIds, PlanFiles, PlannedGroup, PlannedSample, ShardInput
from coupled_core.runs.selection import (
    Decisions,
    Judgement,
    count_wanted,
    judge_samples,
    keep_best,
)
from coupled_core.runs.trace import Trace
from coupled_core.storage.open_store import open_store


@dataclass(frozen=True)
class Batch:
    """Samples that are generated, stored and scored together."""

    index: int
    """Counts on from attempt to attempt: batch k of every stage holds the same samples."""
    samples: Mapping[str, Sample]
    """By key."""

    @property
    def num_pairs(self) -> int:
        """Pairs of all samples."""
        return sum(len(sample.pairs) for sample in self.samples.values())


@dataclass(frozen=True)
class Attempt:
    """All samples that are tried in one round: first with requested seeds, then with others."""

    number: int
    """From 1."""
    samples: Mapping[str, Sample]
    """By key."""
    pair_ids: Mapping[str, PairIds]
    """By key of the sample."""
    batches: tuple[Batch, ...]


class ShardWork:
    """A shard as its stages see it; everything stored is read once, when it is first needed.

    Stages run in order and in one process. A stage that is tried again after a failure finds here
    what the stages before it have found.
    """

    def __init__(
        self, config: RunConfig, plan: ShardPlan, generation: GenerationProvenance
    ) -> None:
        self.config, self.plan, self.generation = config, plan, generation
        self.store = open_store(config.output.uri)
        self.folder = WorkFolder(self.store, plan.run_id, plan.shard_index)
        self.trace = Trace()
        """What was done in this start, and when."""
        self.require_lease: Callable[[], None] = lambda: None
        """Raises `LeaseLostError` when another process has taken the shard over."""
        self._attempts: dict[int, Attempt] = {}
        self._judgements: dict[int, Judgement] = {}

    @contextmanager
    def doing(self, stage: str, batch: int | None = None) -> Iterator[None]:
        """Let log records and errors know what the inside is about, and the trace when it ran."""
        shard = f"{self.plan.shard_index:05d}"
        with (
            log_fields(run_id=self.plan.run_id, shard=shard, stage=stage),
            at_stage(stage),
            self.trace.span(stage, batch),
        ):
            try:
                yield
            except Exception as error:
                if batch is not None and stage_of(error) is None:  # else it came from within
                    error.add_note(f"stage {stage}, shard {shard}, batch {batch}")
                raise

    @cached_property
    def input(self) -> ShardInput:
        """What was planned."""
        files = PlanFiles(self.store, self.plan.run_id, self.config.output.shard_size)
        return files.read_shard(self.plan.shard_index)

    @cached_property
    def outcomes(self) -> tuple[SplitOutcome, ...]:
        """What the splitter said about each group of `input`, in order.

        Raises:
            StorageError: the shard was not split.
        """
        stored = read_splits(self.folder)
        if stored is None:
            raise StorageError(f"{self.folder.prefix}split.json is gone: run the command again")
        return stored

    def find_outcomes(self) -> tuple[SplitOutcome, ...] | None:
        """Return the outcomes of an earlier start; None: it did not come so far."""
        stored = read_splits(self.folder)
        if stored is None or len(stored) != len(self.input.groups):
            return None
        # Puts the value where `cached_property` looks, so that the file is not read a second time.
        self.outcomes = stored
        return stored

    def keep_outcomes(self, outcomes: tuple[SplitOutcome, ...]) -> None:
        """Store what the splitter said."""
        write_splits(self.folder, outcomes)
        self.outcomes = outcomes

    def attempt(self, number: int) -> Attempt:
        """Return what is to be tried in one round; all rounds before must have been scored.

        Raises:
            StorageError: the shard was not split, or an earlier round was not scored.
        """
        if number not in self._attempts:
            found = self._first_samples() if number == 1 else self._samples_again(number)
            samples = {sample.key: made for sample, made in found}
            first_batch = sum(len(self.attempt(n).batches) for n in range(1, number))
            self._attempts[number] = Attempt(
                number,
                samples,
                {sample.key: sample.pair_ids for sample, _ in found},
                self._cut_batches(samples, first_batch),
            )
        return self._attempts[number]

    def attempts(self) -> Iterator[Attempt]:
        """Yield every round that was made, each scored; the first one may be empty."""
        for number in range(1, self.config.selection.attempts + 1):
            attempt = self.attempt(number)
            # Where one round has nothing to try, later ones have not either.
            if number > 1 and not attempt.samples:
                return
            yield attempt

    def failed_samples(self) -> Iterator[tuple[PlannedGroup, PlannedSample, Rejection]]:
        """Yield the samples to make that have no split, and why."""
        for planned, sample, outcome in self._new_samples():
            if isinstance(outcome, Rejection):
                yield planned, sample, outcome

    @cached_property
    def decisions(self) -> Decisions:
        """Which scored pairs are kept, all rounds together, and why the others are not.

        Raises:
            StorageError: a scored batch is missing.
        """
        return keep_best([self._judge(attempt) for attempt in self.attempts()], self._wanted)

    @cached_property
    def _wanted(self) -> dict[Edit, int]:
        return count_wanted(self.attempt(1).samples.values(), self.config.selection)

    def _judge(self, attempt: Attempt) -> Judgement:
        if attempt.number not in self._judgements:
            scored: dict[str, ScoredSample] = {}
            for batch in attempt.batches:
                table = self.folder.read_table(SCORED, batch.index)
                if table is None:
                    raise missing_batch(self.folder, SCORED, batch.index)
                with self.folder.named_damage(batch_name(SCORED, batch.index)):
                    scored |= parse_scored(table)
            judgement = judge_samples(attempt.samples, scored, self.config.filter)
            self._judgements[attempt.number] = judgement
        return self._judgements[attempt.number]

    def _new_samples(self) -> Iterator[tuple[PlannedGroup, PlannedSample, SplitOutcome]]:
        """Yield what the dataset did not hold when the run was planned."""
        done = frozenset(self.plan.done_samples)
        position = 0
        for planned, outcome in zip(self.input.groups, self.outcomes, strict=True):
            for sample in planned.samples:
                # Positions count all samples of the shard, group by group, as the plan counted
                # them.
                if position not in done:
                    yield planned, sample, outcome
                position += 1

    def _first_samples(self) -> list[tuple[PlannedSample, Sample]]:
        return [
            (sample, Sample(planned.group, sample.seed, outcome))
            for planned, sample, outcome in self._new_samples()
            if isinstance(outcome, GroupSplit)
        ]

    def _samples_again(self, number: int) -> list[tuple[PlannedSample, Sample]]:
        """Give each requested sample another seed if its group lacks pairs so far."""
        first = self.attempt(1).samples.values()
        judged = [self._judge(self.attempt(n)) for n in range(1, number)]
        lacking = unmet_edits((c for each in judged for c in each.candidates), self._wanted)
        groups = {edit[0] for edit in lacking}
        requests = {each.group.group_id: each.request_sha256 for each in self.input.groups}
        fingerprint, found = fingerprint_of(self.generation), []
        for sample in first:
            group, seed = sample.group, attempt_seed(sample.seed, number)
            # A sample makes all images of its group, so one edit that lacks pairs has all of them
            # tried.
            if group.group_id in groups or not self.config.selection.early_stop:
                planned = plan_sample(group, seed, requests[group.group_id], fingerprint)
                found.append((planned, Sample(group, seed, sample.split, number)))
        return found

    def _cut_batches(self, samples: Mapping[str, Sample], first: int) -> tuple[Batch, ...]:
        size, rest = self.config.generation.batch_size, iter(samples.items())
        batches: list[Batch] = []
        while items := dict(islice(rest, size)):
            batches.append(Batch(first + len(batches), items))
        return tuple(batches)


def shards_to_split(config: RunConfig, plan: RunPlan) -> list[ShardPlan]:
    """Return the open shards of a run that no earlier attempt has split, from one listing."""
    found = list_work(open_store(config.output.uri), plan.run_id)
    split = {each.shard_index for each in found if each.name == SPLIT}
    return [shard for shard in plan.open_shards if shard.shard_index not in split]
