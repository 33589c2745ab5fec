"""A comparison in one process: prompts, models and finished work, without Prefect."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from coupled_core.errors import ConfigError
from coupled_core.generation.provenance import choose_device, resolve
from coupled_core.progress import Progress
from coupled_core.records import Sample
from coupled_core.research.comparison.chunks import (
    Cell,
    Chunk,
    ChunkStore,
    cut,
    evaluate_chunk,
    list_ablations,
    list_comparison,
    list_trade_off,
)
from coupled_core.research.comparison.conditions import find_conditions
from coupled_core.research.comparison.report import RESULTS, write_facts, write_report
from coupled_core.research.comparison.results import to_bytes
from coupled_core.research.comparison.settings import OURS, CompareSettings
from coupled_core.research.comparison.tuning import EarlierSearch, Tuned, TuningStore
from coupled_core.research.comparison.variants import (
    Variant,
    build_along,
    build_variant,
    knob_of_ours,
    list_variants,
)
from coupled_core.research.evaluation.pairs import Evaluator
from coupled_core.research.evaluation.samples import build_samples, take_groups
from coupled_core.research.methods.method import Method
from coupled_core.research.methods.registry import load_methods
from coupled_core.research.training.entity_judge import load_entity_judge
from coupled_core.schedules.schedule import Schedule
from coupled_core.scoring.pair_scorer import load_scorer
from coupled_core.storage.local import LocalStore


class ComparisonRun:
    """A comparison in one process: its samples, conditions and finished work.

    Methods and scorers are loaded once they are asked for.
    """

    def __init__(self, settings: CompareSettings) -> None:
        """Read prompts and what is known without weights.

        Raises:
            ConfigError: too few groups, prompts that would be tuned and judged on, or an earlier
                comparison on another model, or without the knobs that are wanted.
            PromptSetError: a prompt set cannot be used.
            ModelUnavailableError, ScheduleError: the settings do not work here.
        """
        run = settings.run
        self._earlier: EarlierSearch | None = None
        if settings.knobs is not None:
            self._earlier = EarlierSearch.read(Path(settings.knobs), settings.methods)
            settings = settings.model_copy(update=dict(self._earlier.settings))
        self.settings = settings
        samples = build_samples(run.prompts.uri, run)
        count = settings.num_groups
        self.samples = samples if count is None else take_groups(samples, count)
        self.train_samples = take_groups(
            build_samples(settings.train_prompts, run), settings.num_train_groups
        )
        _check_apart(self.samples, self.train_samples)
        resolved = resolve(run.generation)
        self.schedule = resolved.schedule
        self._base_model = resolved.files.known
        self.conditions = find_conditions(run)
        if self._earlier is not None:
            self._earlier.check_model(self.conditions)
        self.chunks = ChunkStore(settings, self.conditions)
        self.tuning = TuningStore(
            settings,
            self.conditions,
            self.train_samples,
            knob_of_ours(self.schedule),
            self._earlier,
        )

    @cached_property
    def methods(self) -> dict[str, Method]:
        """All methods on one loaded pipeline.

        Raises:
            ConfigError: knobs of an earlier comparison do not fit a method.
        """
        run = self.settings.run
        methods = load_methods(self.settings.methods, run.generation, run.scoring)
        if self._earlier is not None:
            self._earlier.check(methods)
        return methods

    @cached_property
    def variants(self) -> list[Variant]:
        """What ablations change; none where they are not asked for."""
        if not self.settings.ablations:
            return []
        return list_variants(self.schedule, self._base_model)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Segment Anything, CLIP and the guards."""
        run = self.settings.run
        device = choose_device(run.generation.device)
        scorer = load_scorer(run.scoring, device)
        judge = load_entity_judge(run.generation.base_model)
        return Evaluator(scorer, run.filter, run.generation.batch_size, judge)

    def tune(self, method: str, progress: Progress) -> Tuned:
        """Search the knobs of a method on the training prompts."""
        return self.tuning.tune(self.methods[method], self.evaluator, progress)

    def list_chunks(self, tuned: Sequence[Tuned]) -> list[Chunk]:
        """Return all work that follows from the tuned knobs, finished or not, in order."""
        settings = self.settings
        compared = list_comparison(tuned)
        chunks = [chunk for cell in compared for chunk in cut(cell, self.samples, settings)]
        extra = list_trade_off(tuned, settings.num_trade_off_points) if settings.trade_off else []
        if settings.ablations:
            ours = next(one for one in tuned if one.method == OURS)
            extra += list_ablations(self.variants, ours.knobs)
        names = dict.fromkeys(sample.group.group_id for sample in self.samples)
        few = take_groups(self.samples, min(settings.num_extra_groups, len(names)))
        return chunks + [chunk for cell in extra for chunk in cut(cell, few, settings)]

    def evaluate(self, chunk: Chunk, progress: Progress) -> None:
        """Evaluate a chunk and keep it."""
        method = find_method(chunk.cell, self.methods, self.schedule, self.variants)
        evaluate_chunk(chunk, method, self.evaluator, self.chunks, progress)

    def write_results(self, tuned: Sequence[Tuned]) -> dict[str, str]:
        """Join the finished chunks, draw what people look at, and return the files by kind."""
        results: pa.Table = self.chunks.read(self.list_chunks(tuned))
        folder = self.settings.folder
        LocalStore(folder).write(RESULTS, to_bytes(results))
        write_facts(folder, self._describe(tuned))
        return write_report(folder)

    def _describe(self, tuned: Sequence[Tuned]) -> dict[str, Any]:
        settings = self.settings
        return {
            "command": settings.command,
            "prompts": settings.run.prompts.uri,
            "train_prompts": settings.train_prompts,
            "num_train_samples": len(self.train_samples),
            "sweep_budget": settings.sweep_budget,
            "tuned": [asdict(one) for one in tuned],
            "conditions": asdict(self.conditions),
            "settings": settings.model_dump(mode="json"),
        }


def _check_apart(samples: Sequence[Sample], train_samples: Sequence[Sample]) -> None:
    compared = {sample.group.prompts for sample in samples}
    both = [s.group.group_id for s in train_samples if s.group.prompts in compared]
    if both:
        raise ConfigError(
            f"{len(both)} groups would be tuned and judged on ({', '.join(both[:3])}, ...): name "
            "prompt sets that share none with --prompts and --train-prompts"
        )


def find_method(
    cell: Cell, methods: Mapping[str, Method], schedule: Schedule, variants: Sequence[Variant]
) -> Method:
    """Return what makes a cell's images.

    Args:
        cell: one of a plan.
        methods: by name, loaded.
        schedule: that of ours.
        variants: the ablations.
    """
    method = methods[cell.method]
    if cell.part == "ablation" and cell.variant:
        wanted = next(variant for variant in variants if variant.name == cell.variant)
        return build_variant(method, wanted)
    if cell.part == "trade-off" and cell.method == OURS and method.main_knob is None:
        return build_along(method, schedule)
    return method
