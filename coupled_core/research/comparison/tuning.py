"""Finds each method's knobs on the training prompts: same search, same budget, same prompts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from coupled_core.errors import ConfigError
from coupled_core.progress import Progress
from coupled_core.records import Sample
from coupled_core.research.comparison.conditions import Conditions, name_work
from coupled_core.research.comparison.settings import OURS, CompareSettings
from coupled_core.research.evaluation.pairs import Evaluator, mean_objective
from coupled_core.research.methods.method import Knob, Knobs, Method, check_knobs
from coupled_core.research.optimization.search import Evaluation, SearchResult, optimise
from coupled_core.storage.local import LocalStore


@dataclass(frozen=True)
class Tuned:
    """What the search found for one method."""

    method: str
    knobs: Knobs
    objective: float | None
    """Mean J with guards on the training prompts; None: a method without knobs is not searched."""
    default_objective: float | None
    """Mean J at the method's defaults."""
    num_evaluations: int
    """Candidates."""
    main_knob: Knob | None
    """What the method's curve follows."""
    meanings: Mapping[str, str]
    """What each knob is."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Tuned":
        """Rebuild what `asdict` made."""
        main = value["main_knob"]
        return cls(**{**value, "main_knob": Knob(**main) if main else None})


@dataclass(frozen=True)
class EarlierSearch:
    """What an earlier comparison found, and how it searched."""

    path: Path
    tuned: Mapping[str, Tuned]
    """By method."""
    settings: Mapping[str, Any]
    """Those of `CompareSettings` that decide a search."""
    base_model: str
    revision: str
    """Of the base model: what its files hold."""

    @classmethod
    def read(cls, path: Path, methods: Sequence[str]) -> "EarlierSearch":
        """Read the `comparison.json` of a comparison.

        Args:
            path: of the file.
            methods: whose knobs are wanted.

        Raises:
            ConfigError: it cannot be read, or lacks the knobs of a method.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            tuned = {one["method"]: Tuned.from_dict(one) for one in facts["tuned"]}
            settings = {name: facts["settings"][name] for name in _OF_A_SEARCH}
            model = facts["conditions"]["generation"]
            base_model, revision = model["base_model"], model["base_model_revision"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"--knobs: expected the comparison.json of a comparison, but {path} cannot be read "
                f"as one: {error!r}"
            ) from error
        if missing := [name for name in methods if name not in tuned]:
            raise ConfigError(
                f"--knobs: {path} has no knobs of {', '.join(missing)}, only of "
                f"{', '.join(tuned)}: name those in --methods, or search without --knobs"
            )
        return cls(path, tuned, settings, base_model, revision)

    def check_model(self, conditions: Conditions) -> None:
        """Raise ConfigError where the knobs were searched on another model.

        A model that was trained anew under its name, or moved, is not another one.
        """
        name, revision = (conditions.generation[f"base_model{end}"] for end in ("", "_revision"))
        if self.base_model != name and self.revision != revision:
            raise ConfigError(
                f"--knobs: {self.path} is a comparison on {self.base_model}, and this one is on "
                f"{name}, for which its knobs were not searched: search without --knobs"
            )

    def check(self, methods: Mapping[str, Method]) -> None:
        """Raise ConfigError unless each method has a value for every knob, within its range."""
        for name, method in methods.items():
            knobs = self.tuned[name].knobs
            check_knobs(f"--knobs: {self.path}: {name}", method.knobs, knobs)
            for knob in method.knobs:
                if not knob.low <= knobs[knob.name] <= knob.high:
                    raise ConfigError(
                        f"--knobs: {self.path}: {name} expects {knob.name} in [{knob.low}, "
                        f"{knob.high}]; got {knobs[knob.name]}"
                    )


_OF_A_SEARCH = ("train_prompts", "num_train_groups", "sweep_budget", "sweep_seed")

STAGE = "sweep"
"""The name under which progress is counted, in samples."""


class TuningStore:
    """Searches in the folder of a comparison, by everything that decides them."""

    def __init__(
        self,
        settings: CompareSettings,
        conditions: Conditions,
        samples: Sequence[Sample],
        knob_of_ours: Knob,
        earlier: EarlierSearch | None = None,
    ) -> None:
        self._settings, self._conditions = settings, conditions
        self._samples, self._knob_of_ours = list(samples), knob_of_ours
        self._store, self._earlier = LocalStore(settings.folder), earlier

    def read(self, method: str) -> Tuned | None:
        """Return what an earlier search found; None: none is finished."""
        if self._earlier is not None:
            tuned = self._earlier.tuned[method]
            return replace(tuned, main_knob=self._knob_of_ours) if method == OURS else tuned
        key = f"{self._name(method, self._settings.sweep_budget)}.json"
        if not self._store.exists(key):
            return None
        return Tuned.from_dict(json.loads(self._store.read(key)))

    def tune(self, method: Method, evaluator: Evaluator, progress: Progress) -> Tuned:
        """Search the knobs of a method, or go on where a search was killed.

        A larger budget goes on from a smaller one. Progress is told the samples of each candidate.
        """
        settings, num_samples = self._settings, len(self._samples)
        if not method.knobs:
            progress.advance(STAGE, settings.sweep_budget * num_samples)
            return self._keep(self._describe(method, None))

        def evaluate(knobs: Knobs) -> float:
            return mean_objective(evaluator.evaluate(method, knobs, self._samples))

        def note(evaluation: Evaluation) -> None:
            progress.advance(STAGE, num_samples)
            progress.remark(STAGE, f"{method.name}: J {evaluation.objective:.3f}")

        found = optimise(
            method.knobs,
            lambda candidates: map(evaluate, candidates),
            settings.sweep_budget,
            seed=settings.sweep_seed,
            history_path=settings.folder / f"{self._name(method.name)}.jsonl",
            on_evaluation=note,
        )
        progress.advance(STAGE, (settings.sweep_budget - len(found.history)) * num_samples)
        return self._keep(self._describe(method, found))

    def _keep(self, tuned: Tuned) -> Tuned:
        name = self._name(tuned.method, self._settings.sweep_budget)
        self._store.write(f"{name}.json", json.dumps(asdict(tuned), indent=2).encode())
        return tuned

    def _name(self, method: str, budget: int | None = None) -> str:
        seed = self._settings.sweep_seed
        work = name_work(self._conditions, method, {}, self._samples, budget=budget, seed=seed)
        return f"tuning/{method}-{work[:16]}"

    def _describe(self, method: Method, found: SearchResult | None) -> Tuned:
        own = self._knob_of_ours if method.name == OURS else None
        main = next((knob for knob in method.knobs if knob.name == method.main_knob), own)
        return Tuned(
            method=method.name,
            knobs=dict(found.best_knobs) if found else {},
            objective=found.best_objective if found else None,
            default_objective=found.history[0].objective if found else None,
            num_evaluations=len(found.history) if found else 0,
            main_knob=main,
            meanings={knob.name: knob.meaning for knob in method.knobs},
        )
