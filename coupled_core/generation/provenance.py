"""Everything that decides what the images look like, known before any weights are loaded."""

import ctypes
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError, ScheduleError
from coupled_core.generation.families.spec import FamilySpec
from coupled_core.generation.licences import OTHER_WEIGHTS, has_other_weights
from coupled_core.generation.memory_plan import COMPILED_WAYS
from coupled_core.generation.model_files import ModelFiles, find_model_files
from coupled_core.generation.weights_route import AS_STORED, WeightsRoute, resolve_route
from coupled_core.records import CouplingMode
from coupled_core.records import GenerationProvenance as GenerationProvenance
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import load_schedule

SAMPLER_VERSIONS: Mapping[CouplingMode, int] = {"log_bias": 1, "key_scale": 1, "region": 2}
"""Goes up when a mode makes other pixels from the same settings: pairs get other ids with it.

2 of mode region ties the last step, too, and lays images over the decoded background.
"""


@dataclass(frozen=True)
class ResolvedGeneration:
    """The provenance together with what is needed to load and run."""

    provenance: GenerationProvenance
    files: ModelFiles
    schedule: Schedule
    device: str
    """As torch names it."""
    route: WeightsRoute = AS_STORED
    """Of the transformer's weights."""


def resolve_generation(config: GenerationConfig) -> GenerationProvenance:
    """Return what a generation with these settings will use here, without loading weights.

    Raises:
        ConfigError: sizes, lengths or devices that do not work.
        ModelUnavailableError: the base model is not there.
        ScheduleError: the schedule is not there, or is for another mode.
    """
    return resolve(config).provenance


def resolve(config: GenerationConfig) -> ResolvedGeneration:
    """Do `resolve_generation` and keep the files, the schedule and the device."""
    if config.compile and config.offload not in COMPILED_WAYS:
        raise ConfigError(
            f"compile: blocks whose weights come and go (offload={config.offload}) cannot be "
            f"compiled: use offload={' or '.join(COMPILED_WAYS)}."
        )
    files = find_model_files(config.base_model, config.revision)
    device = choose_device(config.device)
    if config.offload in ("model", "group", "sequential") and _kind(device) == "cpu":
        raise ConfigError(
            f"offload={config.offload} moves model parts between an accelerator and the CPU, but "
            "the device is cpu: use offload=none, disk or auto."
        )
    route = resolve_route(config, files, device)
    dtype = _choose_dtype(config.dtype, device)
    resolved = resolve_on(config, files, device, dtype, weights=route.label)
    return replace(resolved, route=route)


def resolve_on(
    config: GenerationConfig, files: ModelFiles, device: str, dtype: str, *, weights: str
) -> ResolvedGeneration:
    """Fill in the defaults for a model whose files, device, dtype and weights are settled."""
    schedule = choose_schedule(config, files)
    steps = config.num_inference_steps or files.known.num_inference_steps
    guidance = (
        files.known.guidance_scale if config.guidance_scale is None else config.guidance_scale
    )
    restrictions = [files.known.use_restrictions]
    restrictions += [OTHER_WEIGHTS] if has_other_weights(weights) else []
    provenance = GenerationProvenance(
        base_model=files.name,
        base_model_revision=files.revision,
        schedule_id=schedule.id,
        coupling_mode=schedule.mode,
        num_inference_steps=steps,
        guidance_scale=0.0 if files.guidance == "none" else guidance,
        width=check_size("width", config.width or files.size_px, files.size_multiple_px),
        height=check_size("height", config.height or files.size_px, files.size_multiple_px),
        max_sequence_length=_check_length(
            config.max_sequence_length or files.max_sequence_length, files.family
        ),
        dtype=dtype,
        device_name=name_device(device),
        license=files.known.license,
        use_restrictions=" ".join(restrictions),
        entity_text=config.entity_text,
        sampler_version=SAMPLER_VERSIONS[schedule.mode],
        weights=weights,
    )
    return ResolvedGeneration(provenance, files, schedule, device)


def choose_schedule(config: GenerationConfig, files: ModelFiles) -> Schedule:
    """Return the schedule file of the settings, or the one shipped for the base model."""
    if config.schedule is None:
        return files.known.load_schedule(config.coupling_mode or files.known.coupling_mode)
    schedule = load_schedule(Path(config.schedule))
    if config.coupling_mode not in (None, schedule.mode):
        raise ScheduleError(
            f"{config.schedule} was made for mode {schedule.mode}, but coupling_mode is "
            f"{config.coupling_mode}; a schedule does not carry over. Leave coupling_mode out, or "
            f"use a schedule for {config.coupling_mode}."
        )
    return schedule


def choose_device(name: str) -> str:
    """Return the device of the settings as torch names it; auto is cuda, else mps, else cpu.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "cpu" or (name == "auto" and not may_have_accelerator()):
        return "cpu"
    import torch  # seconds and half a gigabyte, which who only plans on a CPU does without

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        # A name may be well-formed and its device missing: only an allocation tells.
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as exc:  # the latter comes from torch without CUDA
        raise ConfigError(
            f"device {name!r} is not usable here: {str(exc).splitlines()[0]} "
            "Use auto, cuda, mps or cpu."
        ) from exc
    return str(device)


def may_have_accelerator() -> bool:
    """Say whether torch could find an accelerator; it finds none without the driver's library."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # the latter is AMD's
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def check_size(name: str, size_px: int, multiple_px: int) -> int:
    """Return the size; raise ConfigError where the latents would not pack."""
    if size_px % multiple_px:
        raise ConfigError(
            f"{name} must be a multiple of {multiple_px} px for this model; got {size_px}"
        )
    return size_px


def _check_length(tokens: int, family: FamilySpec) -> int:
    if tokens > family.max_sequence_length:
        raise ConfigError(
            f"max_sequence_length must be at most {family.max_sequence_length} tokens of "
            f"{family.tokenizers[0].name}, the limit of {family.name}; got {tokens}"
        )
    return tokens


def _choose_dtype(name: str, device: str) -> str:
    if name != "auto":
        return name
    return "bfloat16" if _kind(device) == "cuda" else "float32"


def name_device(device: str) -> str:
    """Return what manifests call a device."""
    if _kind(device) == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"{_kind(device)} {platform.machine()}"


def _kind(device: str) -> str:
    """Return a device without its number."""
    return device.partition(":")[0]
