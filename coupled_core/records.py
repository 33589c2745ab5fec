"""The records that pass between stages: what they mean, who fills them, when a field is None."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

CouplingMode = Literal["log_bias", "key_scale", "region"]
"""How background text and entity text are weighed against each other; `coupling` has the rules."""
EntityText = Literal["full_prompt", "entity_prompt"]
"""What the entity stream reads: an image's full prompt, or its entity alone."""


class RejectReason(StrEnum):
    """Why a pair is not kept although no filter objects; `filters` has the reasons of filters."""

    NOT_BEST = "not_best"
    DUPLICATE = "duplicate"
    UNSAFE = "unsafe"
    REVIEWED_OUT = "reviewed_out"
    SPLIT_FAILED = "split_failed"
    DIFFERENCE_BEYOND_WINDOW = "difference_beyond_window"
    UNKNOWN_SCRIPT = "unknown_script"
    GENERATION_FAILED = "generation_failed"
    INVALID_INPUT = "invalid_input"


class Status(StrEnum):
    """How far a pair came: `ok` ran through every stage (kept or dropped), the others did not."""

    OK = "ok"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class PromptGroup:
    """One row of a prompt set: prompts that share a background and differ in their main object."""

    group_id: str
    prompts: tuple[str, ...]
    """N >= 2 full prompts."""
    source_file: str = ""
    """Empty for a group that stands in no file."""
    source_row: int = 0
    """Row number in `source_file`, from 0, without header, comments and blank lines; of a long-form
    set the first row of the group."""
    seed: int | None = None
    """None: derived from the run's seed and `group_id`."""
    num_seeds: int = 1
    width: int | None = None
    """Pixels; None: the run's."""
    height: int | None = None
    variation_kind: str | None = None
    """entity_swap, pose, position or appearance; None: the splitter decides."""
    background_prompt: str | None = None
    """Given together with `entity_prompts` in sets that are split already, else None."""
    entity_prompts: tuple[str, ...] | None = None
    edit_instructions: tuple[tuple[int, int, str], ...] = ()
    """Those that the set brings along: image before, image after, text. The others are written."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Columns we do not know, carried through to the manifest."""


@dataclass(frozen=True)
class QuarantinedRow:
    """A row of the prompt set that cannot be used.

    Becomes one manifest row with status quarantined.
    """

    source_file: str
    source_row: int
    group_id: str | None
    message: str
    """Names column, value and what was expected."""


@dataclass(frozen=True)
class EditInstruction:
    """What to ask of an image editor to turn one image of a group into another, or why nothing."""

    text: str | None
    """"Replace the eagle with a red fox."; None: there is none that could be trusted."""
    source: Literal["rule", "model", "given"] | None = None
    """Who wrote it; None without a text."""
    missing: str | None = None
    """Why there is no text; None where there is one."""


@dataclass(frozen=True)
class GroupSplit:
    """What the images of one group share and what each adds. Filled by a splitter."""

    background_prompt: str
    entity_prompts: tuple[str, ...]
    """One for each prompt, in order."""
    edit_instructions: Mapping[tuple[int, int], EditInstruction] = field(default_factory=dict)
    """By (from, to) for every ordered pair of images.

    Only manifest rows need them; splitters fill in all."""
    variation_kind: str = "entity_swap"
    source: str = "given"
    """batch, online, cache, offline or given."""
    request_sha256: str = ""
    """Identifies the request (splitter, version, prompts); part of the pair_id. Empty: nobody was
    asked."""
    model: str | None = None
    """The LLM; None for offline and given splits."""
    prompt_version: str | None = None
    """Version of the LLM's instruction or of the offline algorithm; None for given splits."""
    llm_cost_usd: float = 0.0


@dataclass(frozen=True)
class Rejection:
    """A group or pair that a stage could not or would not take further: data, not an exception."""

    reason: RejectReason
    message: str
    llm_cost_usd: float = 0.0
    """What answers cost that could not be used; only the rejection of a split has a cost."""


SplitOutcome = GroupSplit | Rejection
"""What a splitter answers about one group."""


@dataclass(frozen=True)
class Sample:
    """One group with one seed: what is generated together from one noise."""

    group: PromptGroup
    seed: int
    split: GroupSplit
    attempt: int = 1
    """1 with a requested seed; a later one has a seed of its own and begins anew."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Image indices (i, j), i < j, of every pair in this sample."""
        return list(combinations(range(len(self.group.prompts)), 2))


@dataclass(frozen=True)
class GenerationProvenance:
    """Settings of a generation with every default filled in; goes into the manifest."""

    base_model: str
    base_model_revision: str
    """Commit of a hub model, SHA-256 over the files of a folder."""
    schedule_id: str
    coupling_mode: "CouplingMode"
    num_inference_steps: int
    guidance_scale: float
    """0 where the model has no guidance embedding."""
    width: int
    """Pixels; a group may ask for another size."""
    height: int
    max_sequence_length: int
    """Tokens of each text stream, at most."""
    dtype: str
    """float32, bfloat16 or float16."""
    device_name: str
    license: str
    use_restrictions: str
    entity_text: "EntityText"
    """full_prompt or entity_prompt: what the entity stream read."""
    sampler_version: int = 1
    """Which rule of the mode made the pixels; it goes up when equal settings give other images."""
    weights: str = ""
    """Quantisation, single file and LoRAs, with hashes; empty: the base model as it is."""


@dataclass(frozen=True)
class GeneratedSample:
    """The images of one sample. Filled by the generate stage."""

    images: "tuple[np.ndarray, ...]"
    """uint8, (H, W, 3), RGB; one for each prompt, in order."""
    generate_seconds: float
    """Wall time of the sample's share of its batch."""
    device_name: str
    background: "np.ndarray | None" = None
    """What the images share, like one of them; None: the mode makes none, or it was not kept."""
    regions: "tuple[np.ndarray, ...] | None" = None
    """M of each image, float32, (H, W) in [0, 1]: where it is 0 the image is the background, to the
    last bit. None without a background."""
    region_fraction: float | None = None
    """Share of the frame in a region, [0, 1]; None without regions."""
    crop_evidence: tuple[float, ...] | None = None
    """Of each image, how much of its entity seems to lie just outside the region; see
    `coupling.entity_region.measure_crop`. None without regions."""
    batch_size: int | None = None
    """Groups that were denoised together, this one included; None: not known."""


@dataclass(frozen=True)
class EntityMask:
    """Where the entity of one image is. Filled by the score stage."""

    mask: "np.ndarray"
    """bool, (H, W)."""
    predicted_iou: float
    """Segment Anything's own estimate, about [0, 1]; 0 where no mask was found."""
    touches_border: bool

    @property
    def area_fraction(self) -> float:
        """Share of the image that the mask covers, [0, 1]."""
        return float(self.mask.mean())


@dataclass(frozen=True)
class ImageDescriptor:
    """What CLIP sees in one image, whatever its prompt. Filled by the score stage."""

    clip_code: str
    """Its embedding in 64 signed bytes, 128 hex digits: near images have near codes."""
    concepts: tuple[str, ...] = ()
    """Unwanted concepts that the content filter found; empty where no filter ran, too."""


@dataclass(frozen=True)
class PairScores:
    """The metrics of one pair; definitions in `scoring.metrics`. Filled by the score stage."""

    joint_entity_fraction: float
    """|JER| / (W H), [0, 1]."""
    validity_ratio: float
    """1 - joint_entity_fraction."""
    background_similarity: float
    """S <= 0; 0 is identical outside the joint entity region.

    -inf where that region covers everything.
    """
    clip_sim_0: float
    """Cosine of image 0 and its full prompt, [-1, 1]."""
    clip_sim_1: float
    alignment: float
    """T = 100 * mean(clip_sim_0, clip_sim_1)."""
    combined: float
    """J = 0.03495 S + 0.05 T + 0.5."""
    clip_sim_image: float
    """Cosine of the two images' CLIP embeddings."""
    clip_sim_dir: float
    """Cosine of the change of image and the change of text in CLIP's space (InstructPix2Pix)."""
    background_psnr: float
    """Decibels outside the joint entity region; capped at 100."""
    background_ssim: float
    """Mean structural similarity outside the joint entity region, [-1, 1]."""
    pixel_mse: float
    """Mean squared difference of the whole images, 0..255 scale.

    The near-identical guard reads it.
    """
    equal_fraction: float | None = None
    """Share of the frame in which both images have the very same pixels, [0, 1].

    None, like every number below: the pair was scored before it was measured."""
    background_similarity_clear: float | None = None
    """S with all left out that is near an entity mask, where masks err and entities have shadows.

    S itself where nothing would be left."""
    rim_seam: float | None = None
    """By how many levels a pixel brightness changes more steeply around an entity than at the same
    place of the other image; 0 where there is nothing to compare."""
    crop_evidence_0: float | None = None
    """How much of the entity of image 0 seems to lie just outside its region, >= 0; measured while
    the image was made. None without a region, too."""
    crop_evidence_1: float | None = None
    extra_scores: Mapping[str, float] = field(default_factory=dict)
    """What other packages registered as scores, by name; empty where there are none."""


METRIC_NAMES = tuple(f.name for f in fields(PairScores) if f.name != "extra_scores")
"""The numbers of `PairScores` that are ours: each is a column of the manifest."""
REQUIRED_METRICS = tuple(
    f.name for f in fields(PairScores) if f.name in METRIC_NAMES and f.default is MISSING
)
"""Those that every scored pair has; pairs of early versions lack the others."""


@dataclass(frozen=True)
class Decision:
    """Whether a pair is kept. Filled by the filter stage."""

    kept: bool
    reject_reasons: tuple[str, ...]
    """Words that filters give, or a `RejectReason`; empty for a kept pair."""
