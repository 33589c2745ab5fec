"""All that can be known and checked before a search loads a model or spends a second on it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from coupled_core.config import CouplingMode, RunConfig, fingerprint
from coupled_core.errors import ConfigError, ScheduleError
from coupled_core.filters import list_filters
from coupled_core.generation.noise import compute_shift
from coupled_core.generation.provenance import (
    GenerationProvenance,
    ResolvedGeneration,
    choose_device,
    resolve,
)
from coupled_core.prompts.prompt_set import check_prompt_set
from coupled_core.records import Sample
from coupled_core.research.evaluation.pairs import Evaluator
from coupled_core.research.evaluation.samples import (
    build_samples,
    split_train_validation,
    take_groups,
)
from coupled_core.research.methods.ours import CoupledMethod
from coupled_core.research.methods.registry import load_methods
from coupled_core.research.optimization.schedule_space import FittedOn
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import Bench
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import load_schedule, load_shipped_schedule
from coupled_core.scoring.metrics import METRIC_VERSION
from coupled_core.scoring.pair_scorer import load_scorer
from coupled_core.splitting.splitter import build_splitter


def load_bench(settings: OptimizeSettings) -> Bench:
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
    scorer = load_scorer(run.scoring, str(choose_device(generation.device)))
    evaluator = Evaluator(scorer, run.filter, generation.batch_size)
    return Bench(method, evaluator, tuple(train), tuple(validation))


def choose_samples(settings: OptimizeSettings) -> tuple[list[Sample], list[Sample]]:
    """Return the samples of training and of validation.

    Raises:
        ConfigError: there are not enough groups on a side.
        PromptSetError: the prompt set is not usable.
    """
    run: RunConfig = settings.run
    train, validation = split_train_validation(build_samples(run.prompts.uri, run))
    if settings.num_groups is not None:
        wanted = (settings.num_groups + 1) // 2, settings.num_groups // 2
        try:
            train, validation = take_groups(train, wanted[0]), take_groups(validation, wanted[1])
        except ConfigError as error:
            raise ConfigError(
                f"{settings.num_groups} groups of {run.prompts.uri}, half of them for validation: "
                f"{error} (sides are fixed by a hash of the group's id); ask for fewer groups"
            ) from error
    if not train or not validation:
        raise ConfigError(
            f"{run.prompts.uri} has {len(train)} samples for training and {len(validation)} for "
            "validation; both need some: add groups"
        )
    return train, validation


_NOT_IN_OBJECTIVES: Mapping[str, set[str]] = {
    "prompts": {"uri"},
    "generation": {"device", "offload", "batch_size", "schedule", "coupling_mode"},
    "filter": {each.setting for each in list_filters() if not each.is_guard},
}
_NOT_IN_IMAGES = {"device_name", "license", "use_restrictions", "schedule_id", "coupling_mode"}


@dataclass(frozen=True)
class Preparation:
    """What a search starts from."""

    fitted_on: FittedOn
    against: Schedule | None
    """What the result is compared with; None: nothing is shipped for this model and mode."""
    folder: Path
    """State of all searches under these conditions."""
    num_train: int
    """Samples."""
    num_validation: int


def prepare_search(settings: OptimizeSettings) -> Preparation:
    """Check prompts, model and settings, and name the state of the search.

    Raises:
        CoupledError: one of them is not usable.
    """
    run = settings.run
    prompt_set = check_prompt_set(run.prompts)
    generation = run.generation.model_copy(update={"schedule": None, "coupling_mode": None})
    resolved = resolve(generation)
    mode = settings.coupling_mode or resolved.files.known.coupling_mode
    against = _choose_against(settings.against, mode, resolved.files.known.schedule_name)
    train, validation = choose_samples(settings)
    name = name_bench(
        settings,
        resolved.provenance,
        prompt_etags=[file.etag for file in prompt_set.files],
        splitter_identity=build_splitter(run.split).identity,
    )
    provenance = resolved.provenance
    fitted_on = FittedOn(
        mode=mode,
        base_model=provenance.base_model,
        base_model_revision=provenance.base_model_revision,
        num_inference_steps=provenance.num_inference_steps,
        shift=_find_shift(resolved),
    )
    folder = settings.state_folder / name
    return Preparation(fitted_on, against, folder, len(train), len(validation))


def name_bench(
    settings: OptimizeSettings,
    generation: GenerationProvenance,
    *,
    prompt_etags: list[str],
    splitter_identity: str,
) -> str:
    """Return the name of all that an objective depends on beside the schedule, 16 hex digits.

    What was evaluated under one name holds for every family, mode and budget.
    """
    # A splitter's identity says what its settings come to.
    without: dict[str, Any] = {**_NOT_IN_OBJECTIVES, "output": True, "split": True}
    run = settings.run.model_dump(mode="json", exclude=without)
    facts: dict[str, Any] = {
        "run": run,
        "groups": settings.num_groups,
        "prompts": prompt_etags,
        "splitter": splitter_identity,
        "metric": METRIC_VERSION,
        "generation": {k: v for k, v in asdict(generation).items() if k not in _NOT_IN_IMAGES},
    }
    return fingerprint(facts)[:16]


def _choose_against(path: str | None, mode: CouplingMode, shipped_name: str) -> Schedule | None:
    if path is None:
        try:
            return load_shipped_schedule(shipped_name, mode)
        except ScheduleError:
            return None
    schedule = load_schedule(Path(path))
    if schedule.mode != mode:
        raise ScheduleError(
            f"{path} is for mode {schedule.mode}, but the search is for {mode}: compare with a "
            "schedule of the same mode"
        )
    return schedule


def _find_shift(resolved: ResolvedGeneration) -> float:
    """Return mu where the model shifts its noise levels by image size, else its fixed shift."""
    files, provenance = resolved.files, resolved.provenance
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
        str(files.folder or files.name),
        subfolder="scheduler",
        revision=None if files.folder else files.revision,
    )
    if not scheduler.config.use_dynamic_shifting:
        return float(scheduler.config.shift)
    side = files.size_multiple_px
    return compute_shift(scheduler, (provenance.width // side) * (provenance.height // side))
