"""How much memory generating takes, computed from the sizes of a model; no weights are read.

What a step takes beside weights was counted with fake tensors at FLUX's width, without gradients:
under no_grad blocks do not add up, so the number of blocks does not matter, and what is alive at
the worst moment is proportional to rows x tokens x width. Tests count again and compare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from coupled_core.config import Offload
from coupled_core.coupling.cost_model import Geometry
from coupled_core.generation.families.spec import FamilySpec
from coupled_core.generation.footprint import Footprint, geometry_of
from coupled_core.generation.model_files import ModelFiles
from coupled_core.records import GenerationProvenance

WAYS: tuple[Offload, ...] = ("none", "model", "disk", "group", "sequential")
"""From the fastest to the one that needs least of the device."""
COMPILED_WAYS: tuple[Offload, ...] = ("none", "model")
"""Those that leave blocks compiled: in the others their weights come and go."""
ELEMENT_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
QUANTIZED_BYTES: Mapping[str, float] = {
    "int8": 1.0,
    "int8-dynamic": 1.0,
    "fp8": 1.0,
    "nf4": 0.5 + 4 / 64,  # and a scale of four bytes for 64 parameters
}
"""Bytes a parameter of a quantised transformer."""
CONTEXT_BYTES = 2**29 + 2**27
"""CUDA's context and the workspaces of its libraries; a guess."""
_STREAMED_SHARE = 1 / 10
"""Of the largest part, as the two layers that lie on the device where layers are moved one by one;
the largest layer is the table of words of a text encoder."""
PAIR = 2
"""Images of a group, where nothing else is known."""
_PIXELS_AT_ONCE = 2**22
"""Four images of 1024 x 1024; decoding more at once would cost memory and gain nothing."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by component, for images of one size."""

    weights: Mapping[str, int]
    """By part of the pipeline; empty: unknown."""
    step: int
    """What a denoising step takes for one group beside the weights."""
    kept: int
    """Keys and values of the background that mode region keeps, for a whole step."""
    decode: int
    """What decoding takes for one image."""
    groups_share_steps: bool
    """Whether the groups of a batch are denoised together; mode region takes one after another."""
    element: int
    """Bytes of a number."""
    may_quantize: bool = True
    """Whether the transformer is not quantised yet."""
    beside: int = CONTEXT_BYTES
    """What else lies on the device all the time."""

    def phases(self, offload: Offload, num_groups: int = 1, num_decoded: int = 1) -> dict[str, int]:
        """Return the bytes on the device while texts are read, groups denoised, images decoded."""
        texts = [size for part, size in self.weights.items() if part.startswith("text_encoder")]
        transformer, vae = self.weights["transformer"], self.weights["vae"]
        whole = transformer + vae + sum(texts)
        streamed = int(_STREAMED_SHARE * max(transformer, *texts))
        held = {
            "none": (whole, whole, whole),
            "model": (max(texts), transformer, vae),
            "disk": (vae + sum(texts), transformer + vae, transformer + vae),
            "group": (streamed, streamed, streamed),
            "sequential": (streamed, streamed, streamed),
        }[offload]
        steps = self.step * (num_groups if self.groups_share_steps else 1)
        work = (0, steps + self.kept, num_decoded * self.decode)
        names = ("reading texts", "denoising", "decoding")
        sums = (each + more + self.beside for each, more in zip(held, work, strict=True))
        return dict(zip(names, sums, strict=True))

    def peak(self, offload: Offload, num_groups: int = 1, num_decoded: int = 1) -> int:
        """Return the most bytes on the device at once."""
        return max(self.phases(offload, num_groups, num_decoded).values())

    def host_bytes(self, offload: Offload) -> int:
        """Return what the weights take of main memory while they are loaded or wait."""
        sizes = self.weights
        texts = sum(size for part, size in sizes.items() if part.startswith("text_encoder"))
        if offload == "disk":
            return max(texts, sizes["transformer"]) + sizes["vae"]
        return sum(sizes.values())

    def fits(self, offload: Offload, memory: int, host: int) -> bool:
        """Return whether one group, and one image to decode, fit; both sizes in bytes."""
        return self.peak(offload) <= memory and self.host_bytes(offload) <= host

    def quantized(self, quantize: str) -> "MemoryPlan":
        """Return the plan with the transformer, as it is now of 2 or 4 bytes, quantised."""
        size = int(self.weights["transformer"] / self.element * QUANTIZED_BYTES[quantize])
        return replace(self, weights={**self.weights, "transformer": size}, may_quantize=False)

    def most_groups(self, offload: Offload, memory: int) -> int:
        """Return how many groups fit into a batch; at least one, which is tried in any case."""
        if not self.groups_share_steps:
            return 2**16
        spare = memory - self.phases(offload, num_groups=0)["denoising"]
        return max(1, spare // self.step)

    def most_decoded(self, offload: Offload, memory: int) -> int:
        """Return how many images fit into the autoencoder at once; at least one."""
        return max(1, (memory - self.phases(offload, num_decoded=0)["decoding"]) // self.decode)


def plan_memory(
    files: ModelFiles,
    footprint: Footprint,
    made: GenerationProvenance,
    *,
    size_px: tuple[int, int] | None = None,
    num_images: int = PAIR,
    beside: int = CONTEXT_BYTES,
) -> MemoryPlan | None:
    """Return what generating takes with settings that are resolved; None: sizes are unknown.

    Args:
        files: Of the base model.
        footprint: Its size.
        made: Number format, quantisation, mode, size and length of texts.
        size_px: Width and height in the place of those of `made`.
        num_images: Of a group.
        beside: Bytes of whatever else is on the device, CUDA's context included.
    """
    width, height = size_px or (made.width, made.height)
    if not {"transformer", "vae"} <= footprint.num_parameters.keys():
        return None
    geometry = geometry_of(files, width, height, made.max_sequence_length)
    element = ELEMENT_BYTES[made.dtype]
    return MemoryPlan(
        weights=_weigh_parts(footprint, made, element),
        step=num_images * step_bytes(geometry, files.family, element),
        kept=kept_bytes(geometry, element) if made.coupling_mode == "region" else 0,
        decode=decode_bytes(width * height, files, element),
        groups_share_steps=made.coupling_mode != "region",
        element=element,
        may_quantize=not made.weights or made.weights.startswith("lora="),
        beside=beside,
    )


def _weigh_parts(footprint: Footprint, made: GenerationProvenance, element: int) -> dict[str, int]:
    """Return the bytes of all parts; of a saved quantised one, and of a file, those on the disk."""
    sizes = {part: count * element for part, count in footprint.num_parameters.items()}
    quantize = made.weights.partition(" ")[0]
    if quantize in QUANTIZED_BYTES:
        count = footprint.num_parameters["transformer"]
        sizes["transformer"] = int(QUANTIZED_BYTES[quantize] * count)
    return sizes | dict(footprint.stored_bytes)


def step_bytes(geometry: Geometry, family: FamilySpec, element: int) -> int:
    """Return what a step takes for one image that reads both texts."""
    tokens = geometry.num_image_tokens + 2 * geometry.num_text_tokens
    per_element, fixed = family.step_bytes
    return tokens * geometry.width * (per_element * element + fixed)


def kept_bytes(geometry: Geometry, element: int) -> int:
    """Return keys and values of all image tokens in all blocks: an empty region keeps them all."""
    num_blocks = geometry.num_double_blocks + geometry.num_single_blocks
    return 2 * num_blocks * geometry.num_image_tokens * geometry.width * element


def decode_bytes(num_pixels: int, files: ModelFiles, element: int) -> int:
    """Return what decoding takes for an image: maps of the last but one width in full size.

    They are what enters the first block of full size, the same normalised, and its activation.
    """
    return files.family.decode_maps * files.decoder_channels * num_pixels * element


def images_at_once(width: int, height: int) -> int:
    """Return the most images of a size, in pixels, that are decoded at once."""
    return max(1, _PIXELS_AT_ONCE // (width * height))


def suggest(
    plans: Mapping[str, MemoryPlan], memory: int, host: int, ways: Sequence[Offload] = WAYS
) -> str | None:
    """Return the options of the first plan that fits, the fastest of its ways; None: none does.

    Args:
        plans: By the options that it stands for, such as "--quantize int8".
        memory: Of the device, in bytes.
        host: Main memory, in bytes.
        ways: Those that the device knows, the fastest first.
    """
    # A quantised transformer on the device is faster than a whole one that comes and goes.
    for way in ways:
        for options, plan in plans.items():
            if plan.fits(way, memory, host):
                moved = "" if way == "none" else f"--offload {way}"
                return " ".join(filter(None, (options, moved)))
    return None
