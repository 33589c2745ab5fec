"""One schedule on one side of the prompts: what is asked for, how it is run, how it is kept.

A trial is the unit that workers share and that a kill can cost.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from coupled_core.config import RunConfig, fingerprint
from coupled_core.errors import ConfigError
from coupled_core.generation.provenance import choose_device
from coupled_core.records import PairScores, Sample
from coupled_core.research.evaluation.pairs import EvaluatedPair, Evaluator, OnProgress
from coupled_core.research.evaluation.samples import (
    build_samples,
    partition_samples,
    take_groups,
)
from coupled_core.research.methods.coupled import CoupledMethod
from coupled_core.research.methods.registry import load_methods
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.runs.identity import attempt_seed
from coupled_core.schedules.schedule import Schedule
from coupled_core.scoring.pair_scorer import load_scorer
from coupled_core.storage.store import ObjectStore

Side = Literal["train", "validation"]
_NOT_IN_IMAGES = {"optimised", "note", "fit", "num_inference_steps", "shift", "base_model_revision"}


@dataclass(frozen=True)
class Trial:
    """What to evaluate."""

    schedule: Schedule
    side: Side
    num_inference_steps: int | None = None
    """None: those of the settings."""
    noise: int = 0
    """0: each sample's own seed; k: the k-th other one."""

    @property
    def key(self) -> str:
        """Names the trial by what its images depend on, 32 hex digits."""
        content = self.schedule.to_dict().items()
        facts = {name: value for name, value in content if name not in _NOT_IN_IMAGES}
        named = {"schedule": facts, "side": self.side, "steps": self.num_inference_steps}
        return fingerprint({**named, "noise": self.noise} if self.noise else named)[:32]


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials on one loaded model, with the same samples, noise and judges for all.

    Candidates differ in nothing but their schedule (common random numbers), so the difference of
    two objectives has far less noise than each of them.
    """

    method: CoupledMethod
    """Any coupled method on the loaded model; its schedule is replaced."""
    evaluator: Evaluator
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]

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
        samples = self.train if trial.side == "train" else self.validation
        if trial.noise:
            samples = tuple(
                replace(one, seed=attempt_seed(one.seed, trial.noise + 1)) for one in samples
            )
        return self.evaluator.evaluate(method, {}, samples, on_progress)


def load_trial_runner(settings: OptimizeSettings) -> TrialRunner:
    """Load the base model and the judges, and split the prompts.

    Raises:
        CoupledError: the prompts, the model or the settings are not usable.
    """
    run = settings.run
    train, validation = choose_samples(settings)
    # Whatever schedule the settings name: every trial brings its own.
    generation = run.generation.model_copy(update={"schedule": None, "coupling_mode": None})
    method = load_methods(["coupled"], generation)["coupled"]
    assert isinstance(method, CoupledMethod)
    scorer = load_scorer(run.scoring, choose_device(generation.device))
    evaluator = Evaluator(scorer, run.filter, generation.batch_size)
    return TrialRunner(method, evaluator, tuple(train), tuple(validation))


def choose_samples(settings: OptimizeSettings) -> tuple[list[Sample], list[Sample]]:
    """Return the samples of training and of validation.

    Raises:
        ConfigError: there are not enough groups on a side.
        PromptSetError: the prompt set is not usable.
    """
    run: RunConfig = settings.run
    train, validation = partition_samples(build_samples(run.prompts.uri, run))
    if settings.num_groups is not None:
        wanted = (settings.num_groups + 1) // 2, settings.num_groups // 2
        try:
            train, validation = take_groups(train, wanted[0]), take_groups(validation, wanted[1])
        except ConfigError as error:
            raise ConfigError(
                f"{settings.num_groups} groups of {run.prompts.label}, half of them for "
                f"validation: {error} (sides are fixed by a hash of the group's id); ask for "
                "fewer groups"
            ) from error
    if not train or not validation:
        raise ConfigError(
            f"{run.prompts.label} has {len(train)} samples for training and {len(validation)} for "
            "validation; both need some: add groups"
        )
    return train, validation


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
            "num_inference_steps": trial.num_inference_steps,
            "noise": trial.noise,
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
        "rings": tuple(None if ring is None else tuple(ring) for ring in row.get("rings", ())),
    }
    return EvaluatedPair(**{**row, **changes})
