"""Loads a base model as a `FluxPipeline`, ready on its device."""

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

from coupled_core.errors import ModelUnavailableError
from coupled_core.generation.provenance import ResolvedGeneration


def load_pipeline(resolved: ResolvedGeneration, offload: str) -> FluxPipeline:
    """Load the weights and place them.

    Args:
        resolved: which model, in which dtype, on which device.
        offload: none, model or sequential; where model parts wait while they are not in use.

    Raises:
        ModelUnavailableError: the weights are missing or do not load.
    """
    files = resolved.files
    location: dict[str, Any] = (
        {"pretrained_model_name_or_path": files.name, "revision": files.revision}
        if files.folder is None
        else {"pretrained_model_name_or_path": str(files.folder), "local_files_only": True}
    )
    dtype = getattr(torch, resolved.provenance.dtype)
    try:
        pipeline = FluxPipeline.from_pretrained(**location, dtype=dtype)
    except (OSError, ValueError, RuntimeError) as exc:
        raise ModelUnavailableError(
            f"base model {files.name} does not load: {exc}\nFor a hub model accept its licence "
            "on its hub page and log in with `hf auth login` or HF_TOKEN; for a folder check "
            "that every file of the pipeline is there."
        ) from exc
    check_pipeline(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return _place(pipeline, resolved.device, offload)


def check_pipeline(pipeline: FluxPipeline) -> None:
    """Raise ModelUnavailableError where our sampling loop would not do what the pipeline does."""
    scheduler = pipeline.scheduler
    plain = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    if not plain or scheduler.config.stochastic_sampling or scheduler.config.invert_sigmas:
        raise ModelUnavailableError(
            "coupled sampling takes plain Euler steps: expected a FlowMatchEulerDiscreteScheduler "
            "without stochastic_sampling and invert_sigmas; got "
            f"{type(scheduler).__name__} {dict(scheduler.config)}"
        )


def _place(pipeline: FluxPipeline, device: torch.device, offload: str) -> FluxPipeline:
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline
