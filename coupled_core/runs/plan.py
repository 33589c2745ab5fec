"""What a run has to do: its prompt set, cut into shards, less what the dataset holds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, islice, repeat

from coupled_core.config import RunConfig, SplitConfig
from coupled_core.dataset.commit.publish import ensure_conditional_writes
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.row_index import committed_pair_ids
from coupled_core.dataset.work import DONE, find_kin, join_kin, list_work
from coupled_core.errors import ConfigError, PromptSetError
from coupled_core.generation.model_files import find_transformer_file, is_bare, require_weights
from coupled_core.generation.provenance import GenerationProvenance, choose_device
from coupled_core.id_set import IdSet
from coupled_core.progress import current_progress
from coupled_core.prompts.prompt_set import (
    GivenPrompts,
    PromptFileSummary,
    describe_files,
    read_prompt_set,
)
from coupled_core.records import PromptGroup, QuarantinedRow
from coupled_core.runs.facts import refuse_other_scores
from coupled_core.runs.identity import (
    generation_fingerprint,
    images_id,
    pair_id,
    quarantined_id,
    run_id,
    sample_seed,
)
from coupled_core.runs.models import files_of
from coupled_core.runs.needs import require_room
from coupled_core.runs.planned import (
    PlanFiles,
    PlannedBadRow,
    PlannedGroup,
    PlannedSample,
    ShardInput,
)
from coupled_core.runs.refusals import TextSurvey
from coupled_core.runs.text_report import NO_TEXTS, TextReport
from coupled_core.scoring.model_files import (
    require_dtype,
    require_fitting_judges,
    require_scorers,
)
from coupled_core.splitting.llm.question import request_sha256, splitter_identity
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.splitting.splitter import (
    GivenFirstSplitter,
    build_splitter,
    hash_with_own,
    is_given,
)
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

PromptItem = PromptGroup | QuarantinedRow
Watch = Callable[[PlannedGroup, bool, bool], None]
"""Is shown every group, with whether the dataset holds all of its pairs, or it will be refused."""


@dataclass(frozen=True)
class ShardPlan:
    """One shard of a run, small enough to be a parameter of a flow."""

    run_id: str
    shard_index: int
    num_items: int
    """Groups and unusable rows."""
    num_pairs: int
    """Pairs to make."""
    done_samples: tuple[int, ...] = ()
    """Samples that the dataset already holds, by position: group by group, seed by seed."""
    kin: tuple[str, ...] = ()
    """Other runs that make the same images, such as the one with a judge that was then corrected:
    what they have generated is taken over."""


@dataclass(frozen=True)
class RunPlan:
    """All that a run has to do."""

    run_id: str
    generation: GenerationProvenance
    inputs: tuple[PromptFileSummary, ...]
    shards: tuple[ShardPlan, ...]
    """Shards with at least one new row, in order."""
    finished_shards: frozenset[int]
    """Shards that an earlier attempt finished; they only wait for the commit."""
    num_groups: int
    num_quarantined: int
    num_pairs: int
    """Pairs of the whole prompt set."""
    num_pairs_done: int
    """Pairs that are in the dataset already."""
    texts: TextReport = NO_TEXTS
    """How the prompts of groups in open shards will be read, and which are refused."""

    @property
    def open_shards(self) -> list[ShardPlan]:
        """Shards that still need work."""
        return [shard for shard in self.shards if shard.shard_index not in self.finished_shards]

    def only(self, indices: Iterable[range]) -> "RunPlan":
        """Return the plan of somebody who builds some of the shards; totals stay the run's."""
        wanted = {index for each in indices for index in each}
        shards = tuple(s for s in self.shards if s.shard_index in wanted)
        return replace(self, shards=shards, finished_shards=self.finished_shards & wanted)


@dataclass(frozen=True)
class Naming:
    """Gives every pair its id before anything is split or generated."""

    run_seed: int
    generation_fingerprint: str
    split_request: Callable[[PromptGroup], str]
    """Returns the hash of what a splitter is asked about a group."""

    def plan_group(self, group: PromptGroup) -> PlannedGroup:
        """Return a group with the seeds and pair ids of all its requested samples."""
        request = self.split_request(group)
        seeds = [
            sample_seed(self.run_seed, group.group_id, group.seed, index)
            for index in range(group.num_seeds)
        ]
        samples = tuple(
            plan_sample(group, seed, request, self.generation_fingerprint) for seed in seeds
        )
        return PlannedGroup(group, request, samples)


def plan_sample(group: PromptGroup, seed: int, request: str, fingerprint: str) -> PlannedSample:
    """Return a group's sample with any seed.

    Args:
        seed: The seed of its noise.
        request: The hash of what a splitter is asked about the group.
        fingerprint: The hash of all settings of generation that the images depend on.
    """
    pairs = combinations(range(len(group.prompts)), 2)
    ids = {
        (i, j): pair_id(
            group_id=group.group_id,
            prompts=(group.prompts[i], group.prompts[j]),
            image_indices=(i, j),
            split_request_sha256=request,
            seed=seed,
            generation_fingerprint=fingerprint,
        )
        for i, j in pairs
    }
    return PlannedSample(seed, ids)


def name_requests(config: SplitConfig) -> tuple[str, Callable[[PromptGroup], str]]:
    """Return the identity of the splitter and its request hashes; nobody's key is needed for it.

    Args:
        config: Settled settings: they name a splitter, not "auto".
    """
    if config.splitter != "anthropic":
        splitter = build_splitter(config)
        return splitter.identity, splitter.request_sha256
    given = GivenFirstSplitter(OfflineSplitter())

    def request_of(group: PromptGroup) -> str:
        if is_given(group):
            return given.request_sha256(group)
        return hash_with_own(group, request_sha256(config, group))

    return splitter_identity(config), request_of


def plan_run(
    config: RunConfig,
    generation: GenerationProvenance,
    *,
    given: GivenPrompts | None = None,
    is_dry_run: bool = False,
    watch: Watch | None = None,
) -> RunPlan:
    """Check all that can be checked before anything is spent, and plan the run in one pass.

    The prompt set is read and validated once in the life of a run: what is found valid is written
    beside its work, where the stages read it.

    Args:
        config: All settings; they must name a splitter, not "auto".
        generation: The settings of generation after defaults are filled in.
        given: The prompt set, if it is in memory; None: it lies where the settings say.
        is_dry_run: Write nothing into the dataset.
        watch: Is shown every group of the prompt set.

    Raises:
        CoupledError: the build cannot begin, and why.
    """
    _refuse_contradictions(config, generation)
    inputs = (given.file,) if given else describe_files(config.prompts)
    store = open_store(config.output.uri)
    if not is_dry_run:
        # Refusals in the order of their price: settings, then the store, then what it holds, then
        # the prompts, all before a model is loaded.
        ensure_conditional_writes(store, single_writer=config.output.single_writer)
    snapshot = current_snapshot(store)
    refuse_other_scores(config, snapshot, store)
    identity, request_of = name_requests(config.split)
    naming = Naming(config.generation.seed, fingerprint_of(generation), request_of)
    # A path may hold another schedule tomorrow: what settings resolve to names the run, too.
    resolved = [naming.generation_fingerprint, identity]
    facts = [*(file.etag for file in inputs), *resolved]
    name = run_id(config, facts)
    same_images = images_id(config, facts)
    kin = find_kin(store, same_images, name)
    files = PlanFiles(store, name, config.output.shard_size)
    # Nobody begins a shard before the plan is written: without one there is nothing to list.
    finished = find_finished(store, name) if files.is_complete else frozenset()
    current_progress().begin("groups", sum(file.num_rows for file in inputs))
    shards = _list_shards(config, inputs, given, naming, files, is_dry_run=is_dry_run)
    tally = _Tally(
        name=name,
        kin=kin,
        committed=committed_pair_ids(store, snapshot),
        finished=finished,
        survey=TextSurvey(config, generation),
        watch=watch,
    )
    run = tally.count(shards).to_plan(generation, inputs)
    if run.open_shards:
        # After the count, since a run with nothing left to do needs no models.
        _require_models(config, generation, is_dry_run=is_dry_run)
        if not is_dry_run:
            join_kin(store, same_images, name)
    return run


def _refuse_contradictions(config: RunConfig, generation: GenerationProvenance) -> None:
    require_fitting_judges(config)
    if config.output.store_background and generation.coupling_mode != "region":
        raise ConfigError(
            f"--store-background: mode {generation.coupling_mode} makes no background image; leave "
            "it out, or use --coupling-mode region"
        )


def _list_shards(
    config: RunConfig,
    inputs: Sequence[PromptFileSummary],
    given: GivenPrompts | None,
    naming: Naming,
    files: PlanFiles,
    *,
    is_dry_run: bool,
) -> Iterable[ShardInput]:
    """Return the shards of a run as they were written, or cut them, and write them unless dry."""
    if files.is_complete:
        # Planned before: neither read nor validated again.
        shards = files.read()
        if not is_dry_run:
            files.refresh()
        return shards
    items = given.items if given else _read_unchanged(config, inputs)
    # A generator: the whole prompt set is never in memory, and is written while it is counted.
    cut = cut_shards(items, config.output.shard_size, naming)
    return cut if is_dry_run else files.write(cut)


def _require_models(
    config: RunConfig, generation: GenerationProvenance, *, is_dry_run: bool
) -> None:
    """Refuse what would fail when models are loaded, which is after splits are paid for."""
    require_scorers(config.scoring)
    require_dtype(config.scoring, choose_device(config.generation.device))
    model = files_of(config.generation.base_model, generation.base_model_revision)
    if not (is_dry_run and is_bare(model)):
        is_whole = find_transformer_file(config.generation)[0] is None
        require_weights(model.name, has_own_transformer=is_whole)
    if not is_dry_run:
        require_room(config, generation, model)


def fingerprint_of(generation: GenerationProvenance) -> str:
    """Return the hash of everything about the generator that the images depend on."""
    return generation_fingerprint(asdict(generation))


def cut_shards(items: Iterable[PromptItem], size: int, naming: Naming) -> Iterator[ShardInput]:
    """Yield the items of a prompt set by shards of `size`, each group with its seeds and ids."""
    rest = iter(items)
    shard_index = 0
    # By place alone, bad rows included: whatever the dataset holds, a group stays in its shard.
    while shard := list(islice(rest, size)):
        groups = [item for item in shard if isinstance(item, PromptGroup)]
        rows = [item for item in shard if isinstance(item, QuarantinedRow)]
        yield ShardInput(
            shard_index,
            tuple(map(naming.plan_group, groups)),
            tuple(PlannedBadRow(_row_id(row), row) for row in rows),
        )
        shard_index += 1


def find_finished(store: ObjectStore, run_id: str) -> frozenset[int]:
    """Return the shards of a run that are marked done, from one listing."""
    work = list_work(store, run_id)
    return frozenset(found.shard_index for found in work if found.name == DONE)


@dataclass(kw_only=True)
class _Tally:
    """Goes through the shards of a run and keeps what is new of each."""

    name: str
    kin: tuple[str, ...]
    committed: IdSet
    finished: frozenset[int]
    survey: TextSurvey
    watch: Watch | None
    plans: list[ShardPlan] = field(default_factory=list)
    num_groups: int = 0
    num_bad_rows: int = 0
    num_pairs: int = 0
    num_open: int = 0
    """Pairs to make."""

    def count(self, shards: Iterable[ShardInput]) -> "_Tally":
        """Take all shards, one in memory at a time."""
        for shard in shards:
            self._count_shard(shard)
            current_progress().advance("groups", shard.num_items)
        return self

    def to_plan(
        self, generation: GenerationProvenance, inputs: tuple[PromptFileSummary, ...]
    ) -> RunPlan:
        """Return what was found."""
        return RunPlan(
            run_id=self.name,
            generation=generation,
            inputs=inputs,
            shards=tuple(self.plans),
            finished_shards=self.finished & {plan.shard_index for plan in self.plans},
            num_groups=self.num_groups,
            num_quarantined=self.num_bad_rows,
            num_pairs=self.num_pairs,
            num_pairs_done=self.num_pairs - self.num_open,
            texts=self.survey.report(),
        )

    def _count_shard(self, shard: ShardInput) -> None:
        samples = [sample for planned in shard.groups for sample in planned.samples]
        ids = [id_ for sample in samples for id_ in sample.pair_ids.values()]
        held = self._find_held([*ids, *(bad.pair_id for bad in shard.bad_rows)])
        is_done = [all([next(held) for _ in sample.pair_ids]) for sample in samples]
        is_all_done = all(is_done) and all(held)
        num_open = sum(
            len(sample.pair_ids) for sample, done in zip(samples, is_done, strict=True) if not done
        )
        is_open = shard.shard_index not in self.finished
        rest = iter(is_done)
        for planned in shard.groups:
            is_group_done = all([next(rest) for _ in planned.samples])
            why = self.survey.take(planned.group) if is_open and not is_group_done else None
            if self.watch is not None:
                self.watch(planned, is_group_done, why is not None)
        self.num_groups += len(shard.groups)
        self.num_bad_rows += len(shard.bad_rows)
        self.num_pairs += len(ids)
        self.num_open += num_open
        if not is_all_done:
            positions = tuple(position for position, done in enumerate(is_done) if done)
            self.plans.append(
                ShardPlan(
                    self.name, shard.shard_index, shard.num_items, num_open, positions, self.kin
                )
            )

    def _find_held(self, pair_ids: Sequence[str]) -> Iterator[bool]:
        """Yield for each id whether the dataset holds it; asked once a shard, which is faster."""
        if not len(self.committed) or not pair_ids:
            return repeat(False, len(pair_ids))
        return iter(self.committed.contains(pair_ids).tolist())


def _read_unchanged(config: RunConfig, inputs: Sequence[PromptFileSummary]) -> Iterator[PromptItem]:
    """Yield the prompt set; refuse it if its files are others at the end than at the beginning."""
    yield from read_prompt_set(config.prompts)
    if [file.etag for file in describe_files(config.prompts)] != [file.etag for file in inputs]:
        raise PromptSetError(
            f"prompt set {config.prompts.label} changed while it was read: start the run again"
        )


def _row_id(row: QuarantinedRow) -> str:
    return quarantined_id(
        source_file=row.source_file, source_row=row.source_row, message=row.message
    )
