"""What the sampler, the generator and the plan ask of a base model, whatever family it is of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from coupled_core.coupling.attention import Attend, Block, TextWeights
from coupled_core.generation.families.spec import SPECS, FamilySpec, Guidance


@dataclass(frozen=True)
class TextEmbedding:
    """One prompt as a model reads it."""

    prompt_embeds: Tensor
    """(S_txt, joint_attention_dim): max_sequence_length rows where the model attends to padding,
    else the text's own."""
    pooled_prompt_embeds: Tensor | None = None
    """(pooled_projection_dim,); None where the model reads none."""


@dataclass(frozen=True)
class Conditioning:
    """What the transformer reads at one step beside the latents, one row an image."""

    prompt_embeds: Tensor
    """(R, S_txt, joint_attention_dim); of two weighed texts one after the other."""
    pooled: Tensor | None
    """(R, pooled_projection_dim)."""
    weights: TextWeights | None = None
    """None: there is one text."""
    mask: Tensor | None = None
    """Which rows of text are no padding, bool, (R, S_txt); None: all."""

    @property
    def text_lengths(self) -> tuple[int, ...]:
        """Tokens of each text."""
        if self.weights is None:
            return (self.prompt_embeds.shape[1],)
        layout = self.weights.layout
        return layout.num_background_tokens, layout.num_entity_tokens


@dataclass(frozen=True)
class Frame:
    """The image tokens of a size, or some of them."""

    ids: Tensor
    """Their positions as the transformer takes them, (S_img, axes)."""
    grid: tuple[int, int]
    """Rows and columns of the whole."""

    def take(self, tokens: Tensor) -> "Frame":
        """Return some of its tokens, (S,) indices."""
        return Frame(self.ids[tokens], self.grid)

    def to(self, device: torch.device) -> "Frame":
        """Return the frame on a device."""
        return Frame(self.ids.to(device), self.grid)


@dataclass(frozen=True)
class NoiseLevels:
    """The noise levels of a run."""

    sigmas: Tensor
    """(T + 1,), float32 on the CPU, falling from about 1 to exactly 0."""
    timesteps: Tensor
    """(T,), float32: 1000 sigma, as models are told."""

    def to(self, device: torch.device) -> "NoiseLevels":
        """Return the levels with what models are told on a device."""
        return NoiseLevels(self.sigmas, self.timesteps.to(device))


class Family(ABC):
    """A loaded pipeline of one family; it is used, and left as it is."""

    spec: ClassVar[FamilySpec]
    empty_prompt: ClassVar[str] = ""
    """What classifier-free guidance leads away from."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self.pipeline: Any = pipeline

    @property
    def transformer(self) -> Any:
        """The denoiser, on its device or under an offload hook."""
        return self.pipeline.transformer

    @property
    def device(self) -> torch.device:
        """Where the transformer computes."""
        return torch.device(self.pipeline._execution_device)

    @property
    def guidance(self) -> Guidance:
        """How a guidance scale takes effect."""
        return self.spec.find_guidance(self.pipeline.config, self.transformer.config)

    @property
    def size_multiple_px(self) -> int:
        """Width and height are multiples of this: autoencoder's scale times 2 x 2 packing."""
        return 2 * int(self.pipeline.vae_scale_factor)

    @property
    def num_channels(self) -> int:
        """Channels of a token of packed latents."""
        return int(self.transformer.config.in_channels)

    @abstractmethod
    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        """Run a prompt through the text encoders."""

    @abstractmethod
    def find_frame(self, width: int, height: int) -> Frame:
        """Return the image tokens of a size in pixels, on the CPU."""

    def draw_noise(self, seed: int, width: int, height: int) -> Tensor:
        """Return the packed noise of all images of a sample, float32, (S_img, in_channels).

        It is the noise that the pipeline draws with `torch.Generator("cpu").manual_seed(seed)` in
        float32; on the CPU, so that a seed is the same noise on every device and in every dtype.
        """
        channels = self.num_channels // 4
        rows, columns = (2 * (side // self.size_multiple_px) for side in (height, width))
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = torch.randn(1, channels, rows, columns, generator=generator, dtype=torch.float32)
        packed: Tensor = self.pipeline._pack_latents(noise, 1, channels, rows, columns)
        return packed[0]

    @staticmethod
    def compute_shift(
        scheduler: FlowMatchEulerDiscreteScheduler, num_image_tokens: int, num_steps: int
    ) -> float:
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

    @staticmethod
    @abstractmethod
    def build_processor(block: Block, attend: Attend) -> Any:
        """Return the model's own projections around a given attention, see `coupling.install`."""

    @abstractmethod
    def predict_velocity(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        frame: Frame,
        guidance_scale: float | None,
    ) -> Tensor:
        """Return noise minus image; the arguments are made exactly as the pipeline makes them.

        Args:
            latents: (R, S, in_channels), in the transformer's dtype.
            timestep: 1000 sigma, 0-d.
            conditioning: R rows.
            frame: These tokens, on the device.
            guidance_scale: read where the guidance is an embedding; None: nowhere.
        """

    @abstractmethod
    def unpack(self, latents: Tensor, width: int, height: int) -> Tensor:
        """Return what the autoencoder decodes, (R, channels, rows, columns), of packed latents."""

    def decode(self, unpacked: Tensor) -> Tensor:
        """Return what the autoencoder makes of `unpack`, in about [-1, 1], (R, 3, H, W)."""
        pixels: Tensor = self.pipeline.vae.decode(unpacked, return_dict=False)[0]
        return pixels

    def combine(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        """Return the guided velocity of classifier-free guidance."""
        return unconditional + scale * (conditional - unconditional)


def compute_noise_levels(
    family: Family | type[Family],
    scheduler: FlowMatchEulerDiscreteScheduler,
    num_inference_steps: int,
    num_image_tokens: int,
) -> NoiseLevels:
    """Return the noise levels that the pipeline would use; `scheduler` is left as it is."""
    # Setting timesteps changes a scheduler, and the pipeline may be the caller's.
    own = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    # As the pipelines make them, before the shift; the scheduler adds the last one, 0.
    sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
    mu = family.compute_shift(scheduler, num_image_tokens, num_inference_steps)
    own.set_timesteps(sigmas=sigmas, mu=mu, device="cpu")
    return NoiseLevels(own.sigmas, own.timesteps)


def count_per_text(lengths: Sequence[int]) -> Tensor:
    """Return positions that begin at 0 with each text, (S_txt,): as if it were the only one."""
    return torch.cat([torch.arange(length) for length in lengths])


def fill_guidance(scale: float | None, latents: Tensor) -> Tensor | None:
    """Return the guidance scale as transformers embed it, float32, (R,)."""
    if scale is None:
        return None
    return torch.full([len(latents)], scale, device=latents.device, dtype=torch.float32)


def load_family_class(spec: FamilySpec) -> type[Family]:
    """Return the implementation of a family."""
    module, _, name = spec.implementation.partition(":")
    found: type[Family] = getattr(import_module(f"coupled_core.generation.families.{module}"), name)
    return found


def find_spec(pipeline: object) -> FamilySpec | None:
    """Return the family of a loaded pipeline, or None."""
    # By name along the bases, so that a caller's subclass is of the family, and no pipeline class
    # need be imported to ask.
    names = [each.__name__ for each in type(pipeline).__mro__]
    return next((SPECS[name] for name in names if name in SPECS), None)


def open_family(pipeline: DiffusionPipeline) -> Family:
    """Return the family of a loaded pipeline; `pipeline.check_pipeline` refuses others."""
    spec = find_spec(pipeline)
    assert spec is not None, f"unchecked {type(pipeline).__name__}"
    return load_family_class(spec)(pipeline)
