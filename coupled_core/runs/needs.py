"""What a build takes of a machine: time, memory, downloads, disk. Computed, where not measured."""

import re
from dataclasses import dataclass

from coupled_core.config import Offload, RunConfig, ScoringConfig
from coupled_core.coupling.cost_model import Geometry, predict_step_flops
from coupled_core.errors import ConfigError
from coupled_core.generation.budget import find_budget
from coupled_core.generation.footprint import find_footprint, geometry_of
from coupled_core.generation.licences import Training, has_other_weights, restrict_training
from coupled_core.generation.memory_plan import PAIR, MemoryPlan, images_at_once
from coupled_core.generation.model_files import ModelFiles, is_bare
from coupled_core.generation.provenance import choose_device, choose_schedule
from coupled_core.records import GenerationProvenance
from coupled_core.scoring.model_files import scorer_bytes

CARDS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "RTX 4090": 165,
    "A10": 125,
    "L4": 121,
}
"""TFLOP/s of dense bfloat16 matrices as their maker states them, by a part of the device's name."""
REACHED = 0.8
"""The share of that which is reached: an H200 gave 790 TFLOP/s in matrices alone."""
SLOWDOWN = 1.45
"""By so much may real kernels take longer than matrices alone."""
REST_SECONDS = 0.25
"""An image's share of text encoding, decoding, Segment Anything and CLIP; a guess."""
_MIN_WIDTH = 1024
"""Transformers of a smaller width wait for launches and not for matrices."""
_MINIATURE_SECONDS = (0.7, 2.0)
"""An image of the miniature on one or two CPU cores, as seen on other machines."""
_SAM_STEP_BYTES = {"vit_h": 3_374_841_856, "vit_l": 3_374_841_856, "vit_b": 2_518_679_552}
"""What an image takes in Segment Anything's encoder, float32; counted with fake tensors for ViT-H
and ViT-B, taken for ViT-L. In bfloat16 the same count gives half, within 1 %."""
_BYTES_A_PIXEL = (1.0, 2.0)
"""From, to, of a PNG or lossless WebP."""


@dataclass(frozen=True)
class ImageTime:
    """What an image takes."""

    seconds: tuple[float, float]
    """From, to."""
    source: str
    """Where that comes from, in words."""


@dataclass(frozen=True)
class MemoryUse:
    """What a build takes of the memory of this machine."""

    plan: MemoryPlan
    scorer_bytes: int
    """What the scorers take beside the base model."""
    available_bytes: int
    """Memory of the device."""
    offload: Offload
    """Where idle parts are to begin with; as asked for, where nothing fits."""
    num_groups: int
    """Groups of a batch."""
    num_decoded: int
    """Images that are decoded at once."""
    refusal: str = ""
    """Why it does not fit, and what does; empty: it fits."""

    @property
    def peak(self) -> int:
        """Return the most bytes on the device at once."""
        return self.plan.peak(self.offload, self.num_groups, self.num_decoded)


@dataclass(frozen=True)
class Needs:
    """What a build with certain settings takes of a machine."""

    image_time: ImageTime | None
    """None: unknown for this device."""
    download_bytes: int
    """Weights of the base model that are not in the cache of the hub yet."""
    memory: MemoryUse | None
    """What generating takes, with the scorers beside it. None: sizes are unknown."""
    pair_bytes: tuple[int, int]
    """What a pair stores, masks and regions aside, which take little."""
    image_flops: int
    """Floating-point operations of an image's steps, one text a step."""
    family: str
    """What the base model is."""
    training: Training
    """Whether an image editor may be trained on the pairs."""
    lacks_weights: bool
    """Its folder holds configurations alone."""
    is_schedule_fitted: bool
    """Whether a search decided the schedule; else somebody picked it."""


def find_needs(config: RunConfig, generation: GenerationProvenance, files: ModelFiles) -> Needs:
    """Return what a build takes, from the size of its models and what is known of its device."""
    footprint = find_footprint(files, config.generation)
    pixels = count_stored_images(config) * generation.width * generation.height
    return Needs(
        image_time=_find_image_time(generation, files),
        download_bytes=footprint.missing_bytes,
        memory=_find_memory_use(config, generation, files),
        pair_bytes=(int(_BYTES_A_PIXEL[0] * pixels), int(_BYTES_A_PIXEL[1] * pixels)),
        image_flops=_count_predictions(generation, files)
        * predict_step_flops(_find_geometry(generation, files), "stock"),
        family=files.family.name,
        training=restrict_training(
            files.known.training, has_others=has_other_weights(generation.weights)
        ),
        lacks_weights=is_bare(files),
        is_schedule_fitted=choose_schedule(config.generation, files).optimised,
    )


def count_stored_images(config: RunConfig) -> int:
    """Return how many images of full size a pair stores: both, and their background if asked."""
    return 2 + config.output.store_background


def _find_geometry(generation: GenerationProvenance, files: ModelFiles) -> Geometry:
    return geometry_of(files, generation.width, generation.height, generation.max_sequence_length)


def _count_predictions(generation: GenerationProvenance, files: ModelFiles) -> int:
    """Classifier-free guidance predicts a second time at each step, from the empty text."""
    is_doubled = files.guidance == "classifier-free" and generation.guidance_scale > 1
    return generation.num_inference_steps * (2 if is_doubled else 1)


def beside_bytes(config: ScoringConfig) -> int:
    """Return what the scorers take of the device: their weights, and Segment Anything at work."""
    step = _SAM_STEP_BYTES.get(config.sam_model.partition(":")[0], 0)
    return scorer_bytes(config) + (step if config.dtype == "float32" else step // 2)


def _find_memory_use(
    config: RunConfig, generation: GenerationProvenance, files: ModelFiles
) -> MemoryUse | None:
    beside, settings = beside_bytes(config.scoring), config.generation
    budget = find_budget(settings, generation, files, choose_device(settings.device), beside)
    plan = budget.plan_for(None, PAIR)
    if plan is None:
        return None
    way, refusal = settings.offload, ""
    try:
        way = budget.choose_way(way)
    except ConfigError as error:
        refusal = str(error)
    placed: Offload = budget.ways[-1] if way == "auto" else way
    groups = min(settings.batch_size, plan.most_groups(placed, budget.memory))
    images = groups * (PAIR if plan.groups_share_steps else PAIR + 1)  # region: its background, too
    decoded = min(
        images,
        plan.most_decoded(placed, budget.memory),
        images_at_once(generation.width, generation.height),
    )
    return MemoryUse(plan, beside, budget.memory, placed, groups, decoded, refusal)


def require_room(config: RunConfig, generation: GenerationProvenance, files: ModelFiles) -> None:
    """Refuse a base model that does not fit the accelerator of this machine.

    Without one nothing is refused: who plans on a CPU may let others generate.

    Raises:
        ConfigError: naming the settings that make it fit.
    """
    settings, device = config.generation, choose_device(config.generation.device)
    if device != "cpu":
        beside = beside_bytes(config.scoring)
        find_budget(settings, generation, files, device, beside).choose_way(settings.offload)


def _find_image_time(generation: GenerationProvenance, files: ModelFiles) -> ImageTime | None:
    named = generation.device_name
    # In the order of the table, where "H100 PCIe" stands before "H100".
    card = next((name for name in CARDS if re.search(rf"\b{name}\b", named)), None)
    if card is None:
        is_small = generation.base_model == "miniature" and named.startswith("cpu")
        seen = "as seen on CPUs of other machines"
        return ImageTime(_MINIATURE_SECONDS, seen) if is_small else None
    geometry = _find_geometry(generation, files)
    if geometry.width < _MIN_WIDTH or generation.dtype == "float32":
        return None
    # Of an image in the middle of its schedule, the dearest kind of step: sharing is left out.
    step = predict_step_flops(geometry, "merged") / (CARDS[card] * REACHED * 1e12)
    least = step * _count_predictions(generation, files)
    return ImageTime(
        (least + REST_SECONDS, least * SLOWDOWN + REST_SECONDS),
        f"computed for {card}, not measured",
    )
