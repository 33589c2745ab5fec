"""All that can be known and checked before a search loads a model or spends a second on it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from coupled_core.config import fingerprint
from coupled_core.errors import ScheduleError
from coupled_core.filters import list_filters
from coupled_core.generation.families.family import load_family_class
from coupled_core.generation.model_files import KnownModel
from coupled_core.generation.provenance import (
    GenerationProvenance,
    ResolvedGeneration,
    resolve,
)
from coupled_core.prompts.prompt_set import check_prompt_set
from coupled_core.records import CouplingMode
from coupled_core.research.evaluation.conditions import (
    DECIDING_CODE,
    describe_scorers,
    digest_code,
)
from coupled_core.research.optimization.candidates import FittedOn
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import choose_samples, list_groups
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import load_schedule
from coupled_core.splitting.splitter import build_splitter

_TRIAL = "research/optimization/trial.py"
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
    before: Schedule | None
    """The schedule to beat; None: nothing is shipped for this model and mode."""
    folder: Path
    """Finished trials of all searches under these conditions."""
    num_race_groups: int
    """Groups that candidates may be raced on."""
    num_final_groups: int


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
    before = _choose_before(settings.against, mode, resolved.files.known)
    race, finals = choose_samples(settings)
    name = name_conditions(
        settings,
        resolved.provenance,
        prompt_etags=[file.etag for file in prompt_set.files],
        splitter_identity=build_splitter(run.split).identity,
        code=digest_code(Path(__file__).parents[2], (*DECIDING_CODE, _TRIAL)),
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
    return Preparation(fitted_on, before, folder, len(list_groups(race)), len(list_groups(finals)))


def name_conditions(
    settings: OptimizeSettings,
    generation: GenerationProvenance,
    *,
    prompt_etags: list[str],
    splitter_identity: str,
    code: str,
) -> str:
    """Return the name of all that an evaluation depends on beside the schedule, 16 hex digits.

    What was evaluated under one name holds for every family, mode, objective and number of
    candidates.

    Args:
        settings: of the search.
        generation: the base model, its defaults filled in.
        prompt_etags: of the files of the prompt set.
        splitter_identity: as splitters state it.
        code: SHA-256 of the code that makes images and measures them.
    """
    # A splitter's identity says what its settings come to.
    without: dict[str, Any] = {**_NOT_IN_OBJECTIVES, "output": True, "split": True}
    run = settings.run.model_dump(mode="json", exclude=without)
    facts: dict[str, Any] = {
        "run": run,
        "prompts": prompt_etags,
        "splitter": splitter_identity,
        "scoring": describe_scorers(settings.run.scoring),
        "code": code,
        "generation": {
            name: value for name, value in asdict(generation).items() if name not in _NOT_IN_IMAGES
        },
    }
    return fingerprint(facts)[:16]


def _choose_before(path: str | None, mode: CouplingMode, base_model: KnownModel) -> Schedule | None:
    if path is None:
        try:
            return base_model.load_schedule(mode)
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
    return load_family_class(files.family).compute_shift(
        scheduler,
        (provenance.width // side) * (provenance.height // side),
        provenance.num_inference_steps,
    )
