"""Loads a base model as a `FluxPipeline`, ready on its device."""

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.generation.model_files import KNOWN_MODELS, ModelFiles, describe_unknown_model
from coupled_core.generation.provenance import ResolvedGeneration, resolve_on


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


_SETTLED_BY_LOADING = ("revision", "dtype", "device", "offload")


def resolve_pipeline(config: GenerationConfig, pipeline: FluxPipeline) -> ResolvedGeneration:
    """Do for a pipeline that somebody else has loaded what `resolve` does before loading one.

    Args:
        config: `base_model` says which model it is, where that is given; else its own name does.
        pipeline: It keeps its device and dtype.

    Raises:
        ConfigError: it is of another class, or settings want to load it otherwise.
        ModelUnavailableError: its scheduler does not take plain Euler steps.
    """
    if not isinstance(pipeline, FluxPipeline):
        raise ConfigError(f"pipeline: expected a FluxPipeline, got a {type(pipeline).__name__}")
    if late := config.model_fields_set.intersection(_SETTLED_BY_LOADING):
        raise ConfigError(
            f"{', '.join(sorted(late))}: these take effect when a pipeline is loaded, and this one "
            "was: leave them out, or leave out the pipeline"
        )
    check_pipeline(pipeline)
    is_named = "base_model" in config.model_fields_set
    name = config.base_model if is_named else pipeline.name_or_path or type(pipeline).__name__
    transformer, vae = pipeline.transformer.config, pipeline.vae.config
    files = ModelFiles(
        name=name,
        folder=None,
        revision="loaded by the caller",
        known=KNOWN_MODELS.get(name) or describe_unknown_model(transformer),
        guidance_embeds=bool(transformer.guidance_embeds),
        vae_sample_size_px=int(vae.sample_size),
        size_multiple_px=2 * pipeline.vae_scale_factor,
        tokenizer_max_length=int(pipeline.tokenizer_2.model_max_length),
    )
    dtype = str(pipeline.transformer.dtype).removeprefix("torch.")
    return resolve_on(config, files, pipeline._execution_device, dtype)


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
