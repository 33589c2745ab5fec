"""What is taken from a stock `FluxPipeline` as it is: noise, its levels, texts and decoding."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from safetensors import SafetensorError
from torch import Tensor

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.generation.model_files import (
    ModelFiles,
    describe_unknown_model,
    list_known_models,
    require_weights,
)
from coupled_core.generation.placement import PlacedPipeline
from coupled_core.generation.provenance import ResolvedGeneration, resolve_on
from coupled_core.memory import is_out_of_memory
from coupled_core.weights import WEIGHT_ERRORS, describe_weights_error


def load_pipeline(resolved: ResolvedGeneration, offload: str) -> FluxPipeline:
    """Return the pipeline of `load_placed`, for those who never ask for more room."""
    return load_placed(resolved, offload).pipeline


def load_placed(resolved: ResolvedGeneration, offload: str) -> PlacedPipeline:
    """Load the weights and place them.

    Args:
        resolved: which model, in which dtype, on which device.
        offload: none, model, sequential or auto; where model parts wait while they are not in use.

    Raises:
        ModelUnavailableError: the weights are missing or do not load.
    """
    files = resolved.files
    if files.folder is not None:
        require_weights(files.name)
    # A folder is taken as it is: nothing is fetched in place of a file that it lacks.
    location: dict[str, Any] = (
        {"pretrained_model_name_or_path": files.name, "revision": files.revision}
        if files.folder is None
        else {"pretrained_model_name_or_path": str(files.folder), "local_files_only": True}
    )
    dtype = getattr(torch, resolved.provenance.dtype)
    try:
        pipeline = FluxPipeline.from_pretrained(**location, dtype=dtype)
    except Exception as exc:
        if is_out_of_memory(exc):
            raise _no_room(files.name, "the main memory of this machine", exc) from exc
        if not isinstance(exc, (SafetensorError, *WEIGHT_ERRORS)):
            raise
        raise ModelUnavailableError(
            f"base model {files.name} does not load: {describe_weights_error(exc)}\n"
            "For a hub model accept its licence on its hub page and log in with `hf auth login` or "
            "HF_TOKEN; for a folder check that every file of the pipeline is there."
        ) from exc
    check_pipeline(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    try:
        return PlacedPipeline(pipeline, resolved.device, offload)
    except Exception as exc:
        if is_out_of_memory(exc):
            raise _no_room(files.name, f"the memory of {resolved.device}", exc) from exc
        raise


def _no_room(name: str, where: str, error: Exception) -> ConfigError:
    first = str(error).partition("\n")[0]
    return ConfigError(
        f"base model {name} does not fit into {where} ({first}): end what else uses it, choose a "
        "smaller --dtype, or, on an accelerator, --offload auto (model or sequential: at once)"
    )


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
        known=list_known_models().get(name) or describe_unknown_model(name, transformer),
        guidance_embeds=bool(transformer.guidance_embeds),
        vae_sample_size_px=int(vae.sample_size),
        size_multiple_px=2 * pipeline.vae_scale_factor,
        tokenizer_max_length=int(pipeline.tokenizer_2.model_max_length),
    )
    dtype = str(pipeline.transformer.dtype).removeprefix("torch.")
    return resolve_on(config, files, str(pipeline._execution_device), dtype)


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
    _check_tokenizers(pipeline)


_PROBES = ("A red kite in a meadow at noon.", "A blue car on a beach at night.")


def _check_tokenizers(pipeline: FluxPipeline) -> None:
    """Refuse tokenizers that tell no prompts apart, or speak of words that their encoder lacks.

    Where its files are missing, a tokenizer loads without a word, and all prompts are one to it.
    """
    for name in ("tokenizer", "tokenizer_2"):
        tokenizer = getattr(pipeline, name)
        encoder = getattr(pipeline, name.replace("tokenizer", "text_encoder"))
        num_known = encoder.get_input_embeddings().num_embeddings
        try:
            first, second = (tokenizer(text).input_ids for text in _PROBES)
        except Exception as exc:  # tokenizers raises nothing more specific
            raise ModelUnavailableError(
                f"base model {pipeline.name_or_path}: its {name} splits no text ({exc}): files of "
                f"{name}/ are another model's. Fetch the model again."
            ) from exc
        if first == second or max(*first, *second) >= num_known:
            raise ModelUnavailableError(
                f"base model {pipeline.name_or_path}: its {name} does not fit its text encoder: "
                f"it knows {len(tokenizer)} tokens, the encoder {num_known}, and it reads two "
                f"different prompts as {first[:8]} and {second[:8]}. Files of {name}/ are missing "
                "or are another model's: fetch the model again."
            )


def draw_noise(pipeline: FluxPipeline, seed: int, width: int, height: int) -> Tensor:
    """Return the packed noise of all images of a sample, float32 on the CPU, (S_img, in_channels).

    It is the noise of `FluxPipeline(generator=torch.Generator("cpu").manual_seed(seed))` in
    float32.
    """
    channels = pipeline.transformer.config.in_channels // 4
    rows = 2 * (height // (pipeline.vae_scale_factor * 2))
    columns = 2 * (width // (pipeline.vae_scale_factor * 2))
    # Drawn on the CPU in float32, so that a seed is the same noise on every device and dtype.
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.randn(1, channels, rows, columns, generator=generator, dtype=torch.float32)
    packed: Tensor = pipeline._pack_latents(noise, 1, channels, rows, columns)
    return packed[0]


def image_ids(pipeline: FluxPipeline, width: int, height: int) -> Tensor:
    """Return FLUX's position ids of the image tokens, float32, (S_img, 3)."""
    rows = height // (pipeline.vae_scale_factor * 2)
    columns = width // (pipeline.vae_scale_factor * 2)
    ids: Tensor = pipeline._prepare_latent_image_ids(1, rows, columns, "cpu", torch.float32)
    return ids


@dataclass(frozen=True)
class NoiseLevels:
    """The noise levels of a run."""

    sigmas: Tensor
    """(T + 1,), float32 on the CPU, falling from about 1 to exactly 0."""
    timesteps: Tensor
    """(T,), float32: 1000 sigma, as FLUX is told."""


def compute_noise_levels(
    scheduler: FlowMatchEulerDiscreteScheduler, num_inference_steps: int, num_image_tokens: int
) -> NoiseLevels:
    """Return the noise levels that `FluxPipeline` would use; `scheduler` is left as it is."""
    # Setting timesteps changes a scheduler, and the pipeline may be the caller's.
    own = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
    own.set_timesteps(sigmas=sigmas, mu=compute_shift(scheduler, num_image_tokens), device="cpu")
    return NoiseLevels(own.sigmas, own.timesteps)


def compute_shift(scheduler: FlowMatchEulerDiscreteScheduler, num_image_tokens: int) -> float:
    """Return mu, by which dynamic shifting moves the noise levels up for larger images."""
    config = scheduler.config
    return float(
        calculate_shift(
            num_image_tokens,
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.15),
        )
    )


@dataclass(frozen=True)
class TextEmbedding:
    """One prompt as FLUX reads it."""

    prompt_embeds: Tensor
    """T5, (max_sequence_length, joint_attention_dim), with padding: FLUX attends to it."""
    pooled_prompt_embeds: Tensor
    """CLIP, (pooled_projection_dim,)."""


class PromptEncoder:
    """A pipeline's text encoders with a memory of recent prompts."""

    def __init__(
        self, pipeline: FluxPipeline, max_sequence_length: int, max_remembered: int = 256
    ) -> None:
        self._pipeline = pipeline
        self._max_sequence_length = max_sequence_length
        self._max_remembered = max_remembered
        self._remembered: OrderedDict[str, TextEmbedding] = OrderedDict()
        self.num_encoded = 0
        """Prompts that went through the text encoders so far."""

    def encode(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        """Return the embeddings in order, on the CPU: 4 MB a prompt of FLUX.1-dev."""
        return [self._encode_one(prompt) for prompt in prompts]

    def _encode_one(self, prompt: str) -> TextEmbedding:
        if prompt in self._remembered:
            self._remembered.move_to_end(prompt)
            return self._remembered[prompt]
        # One at a time: a batch would let the rounding of one prompt depend on its neighbours, and
        # encoding is a thousandth of the time of denoising.
        with torch.no_grad():
            prompt_embeds, pooled, _ = self._pipeline.encode_prompt(
                prompt, max_sequence_length=self._max_sequence_length
            )
        self.num_encoded += 1
        embedding = TextEmbedding(prompt_embeds[0].cpu(), pooled[0].cpu())
        self._remembered[prompt] = embedding
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)
        return embedding


_PIXELS_AT_ONCE = 2**22
"""Four images of 1024 x 1024; more would cost memory and gain nothing."""


def decode_latents(
    pipeline: FluxPipeline, latents: Tensor, width: int, height: int
) -> list[np.ndarray | None]:
    """Do `decode_pixels` and round: uint8 (height, width, 3) RGB."""
    decoded = decode_pixels(pipeline, latents, width, height)
    return [None if pixels is None else round_pixels(pixels) for pixels in decoded]


def round_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 of float pixels in [0, 255]."""
    return np.asarray(pixels.round().astype(np.uint8))


@torch.no_grad()
def decode_pixels(
    pipeline: FluxPipeline, latents: Tensor, width: int, height: int
) -> list[np.ndarray | None]:
    """Decode packed latents in batches.

    Args:
        pipeline: its autoencoder and image processor are used.
        latents: (R, S_img, in_channels), clean.
        width: pixels.
        height: pixels.

    Returns:
        For each row an image, float32 in [0, 255], (height, width, 3) RGB, or None where latents or
        pixels are not finite.
    """
    vae = pipeline.vae
    unpacked = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    scaled = unpacked / vae.config.scaling_factor + vae.config.shift_factor
    images: list[np.ndarray | None] = []
    for chunk in scaled.split(max(1, _PIXELS_AT_ONCE // (width * height))):
        pixels = vae.decode(chunk.to(vae.dtype), return_dict=False)[0].float()
        finite = (
            chunk.isfinite().flatten(1).all(dim=1) & pixels.isfinite().flatten(1).all(dim=1)
        ).tolist()
        # Not a number has no colour; those rows are dropped below.
        unit = pipeline.image_processor.postprocess(pixels.nan_to_num(), output_type="np")
        levels = unit * 255
        images += [image if ok else None for image, ok in zip(levels, finite, strict=True)]
    return images
