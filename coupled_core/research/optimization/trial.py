"""One schedule on some groups: what is asked for, how it is run, how it is kept.

A trial is the unit that workers share and that a kill can cost.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from coupled_core.config import RunConfig, fingerprint
from coupled_core.errors import ConfigError
from coupled_core.generation.provenance import choose_device
from coupled_core.records import GeneratedSample, PairScores, Rejection, Sample
from coupled_core.research.evaluation.pairs import EvaluatedPair, Evaluator, OnProgress
from coupled_core.research.evaluation.samples import (
    build_samples,
    partition_samples,
    take_groups,
)
from coupled_core.research.methods.coupled import CoupledMethod
from coupled_core.research.methods.method import Method
from coupled_core.research.methods.registry import load_methods
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.training.entity_judge import load_entity_judge
from coupled_core.schedules.schedule import Schedule
from coupled_core.scoring.pair_scorer import PairScorer, load_scorer
from coupled_core.storage.store import ObjectStore

Side = Literal["race", "finals"]
_STOCK = "random-seed"
"""Images without coupling, from the same noise and prompts, at the settings' step count."""
_NOT_IN_IMAGES = {"optimised", "note", "fit", "num_inference_steps", "shift", "base_model_revision"}


@dataclass(frozen=True)
class Trial:
    """What to evaluate."""

    schedule: Schedule
    side: Side
    start: int
    """First group of the side."""
    stop: int
    """Group behind the last one."""
    num_inference_steps: int | None = None
    """None: those of the settings."""

    @property
    def key(self) -> str:
        """Names the trial by what its images depend on, 32 hex digits."""
        content = self.schedule.to_dict().items()
        facts = {name: value for name, value in content if name not in _NOT_IN_IMAGES}
        where = {"side": self.side, "start": self.start, "stop": self.stop}
        return fingerprint({"schedule": facts, **where, "steps": self.num_inference_steps})[:32]


@dataclass(frozen=True)
class StockMasks:
    """Finds the entities in uncoupled images, once a sample, and remembers them in bits."""

    method: Method
    scorer: PairScorer
    _kept: dict[tuple[str, int], tuple[np.ndarray, tuple[int, ...]]] = field(default_factory=dict)

    def find(self, sample: Sample) -> np.ndarray | None:
        """Return a mask an image, bool, (N, H, W); None: the model made no usable images."""
        key = sample.group.group_id, sample.seed
        if key not in self._kept:
            (made,) = self.method.generate([sample], {})
            if isinstance(made, Rejection):
                return None
            masks, _ = self.scorer.score(sample, GeneratedSample(made.images, made.seconds, ""))
            found = np.stack([mask.mask for mask in masks])
            self._kept[key] = np.packbits(found), found.shape
        bits, shape = self._kept[key]
        return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials on one loaded model, with the same samples, noise and judges for all.

    Candidates differ in nothing but their schedule (common random numbers), so the difference of
    two objectives has far less noise than each of them.
    """

    method: CoupledMethod
    """Any coupled method on the loaded model; its schedule is replaced."""
    evaluator: Evaluator
    evaluator_elsewhere: Evaluator
    """For other step counts: it has no uncoupled images of these to compare with."""
    race: tuple[Sample, ...]
    finals: tuple[Sample, ...]

    def run(self, trial: Trial, on_progress: OnProgress | None = None) -> list[EvaluatedPair]:
        """Return the pairs of a trial."""
        generator = self.method.generator.with_schedule(
            trial.schedule, num_inference_steps=trial.num_inference_steps
        )
        method = replace(
            self.method,
            name="schedule",
            generator=generator,
            retune=lambda same, _: same,
            knobs=(),
            main_knob=None,
        )
        samples = self.race if trial.side == "race" else self.finals
        groups = list_groups(samples)[trial.start : trial.stop]
        chosen = [sample for sample in samples if sample.group.group_id in groups]
        own = trial.num_inference_steps is None
        evaluator = self.evaluator if own else self.evaluator_elsewhere
        return evaluator.evaluate(method, {}, chosen, on_progress)


def load_trial_runner(settings: OptimizeSettings) -> TrialRunner:
    """Load the base model and the judges, and split the prompts.

    Raises:
        CoupledError: the prompts, the model or the settings are not usable.
    """
    run = settings.run
    race, finals = choose_samples(settings)
    # Whatever schedule the settings name: every trial brings its own.
    generation = run.generation.model_copy(update={"schedule": None, "coupling_mode": None})
    methods = load_methods(["coupled", _STOCK], generation)
    method = methods["coupled"]
    assert isinstance(method, CoupledMethod)
    scorer = load_scorer(run.scoring, choose_device(generation.device))
    evaluate = partial(
        Evaluator,
        scorer,
        run.filter,
        generation.batch_size,
        judge=load_entity_judge(method.generator.provenance.base_model),
    )
    return TrialRunner(
        method,
        evaluator=evaluate(find_stock_masks=StockMasks(methods[_STOCK], scorer).find),
        evaluator_elsewhere=evaluate(),
        race=tuple(race),
        finals=tuple(finals),
    )


def choose_samples(settings: OptimizeSettings) -> tuple[list[Sample], list[Sample]]:
    """Return the samples that are raced on, and those of the finals.

    Raises:
        ConfigError: there are not enough groups on a side.
        PromptSetError: the prompt set is not usable.
    """
    run: RunConfig = settings.run
    race, finals = partition_samples(build_samples(run.prompts.uri, run))
    name = run.prompts.label
    if not race or not finals:
        raise ConfigError(
            f"{name} has {len(race)} samples to race on and {len(finals)} for the finals; both "
            "need some: add groups"
        )
    if settings.num_final_groups is not None:
        try:
            finals = take_groups(finals, settings.num_final_groups)
        except ConfigError as error:
            raise ConfigError(
                f"--num-final-groups {settings.num_final_groups} of {name}: {error} (a hash of a "
                "group's id decides whether it is raced on); ask for fewer, or add groups"
            ) from error
    return race, finals


def list_groups(samples: Sequence[Sample]) -> list[str]:
    """Return the ids of the groups, each once, in order."""
    return list(dict.fromkeys(sample.group.group_id for sample in samples))


class TrialRecords:
    """Finished trials below one prefix of a store; each is written whole or not at all."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def read(self, trial: Trial) -> list[EvaluatedPair] | None:
        """Return the pairs of a finished trial, or None."""
        key = _locate(trial)
        if not self._store.exists(key):
            return None
        return [_parse_pair(row) for row in json.loads(self._store.read(key))["pairs"]]

    def write(self, trial: Trial, pairs: Sequence[EvaluatedPair]) -> None:
        """Keep the pairs of a trial."""
        content = {
            "schedule": trial.schedule.to_dict(),
            "side": trial.side,
            "start": trial.start,
            "stop": trial.stop,
            "num_inference_steps": trial.num_inference_steps,
            "pairs": [asdict(pair) for pair in pairs],
        }
        self._store.write(_locate(trial), json.dumps(content).encode())


def _locate(trial: Trial) -> str:
    return f"trials/{trial.key}.json"


def _parse_pair(row: dict[str, Any]) -> EvaluatedPair:
    scores = row["scores"]
    changes = {
        "scores": PairScores(**scores) if scores is not None else None,
        "guards": tuple(row["guards"]),
        "stock_overlap": tuple(row["stock_overlap"]),
        "stock_outside": tuple(row["stock_outside"]),
        "rings": tuple(None if ring is None else tuple(ring) for ring in row.get("rings", ())),
    }
    return EvaluatedPair(**{**row, **changes})
