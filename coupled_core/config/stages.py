"""Settings of the stages, one class each, from prompts to the dataset."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model, field_validator

from coupled_core.concepts import ConceptList, read_concepts
from coupled_core.config.base import Settings, fingerprint, refuse_credentials
from coupled_core.config.language_model import LlmConfig
from coupled_core.filters import list_filters
from coupled_core.plugins import find_plugins
from coupled_core.records import CouplingMode, EntityText

Offload = Literal["none", "model", "disk", "group", "sequential"]


class PromptSetConfig(Settings, title="Input"):
    """Where the prompts come from."""

    uri: str | tuple[str, ...] = "miniature"
    """Prompt set: a file (.parquet, .csv, .tsv, .jsonl), a folder of them, a pattern such as
    "sets/*.csv", an s3:// location of these, or - for standard input; folders such as
    variation_kind=pose give a column. The package ships `miniature` as an example,
    `miniature-train` and `miniature-test` to tune and to compare methods. Several add up."""
    on_bad_row: Literal["fail", "quarantine"] = "fail"
    """What to do about unusable rows: stop before anything is spent, or go on without them."""
    trust_splits: bool = False
    """Do not compare given splits and instructions with the prompts: for those in another language
    than the prompts."""
    max_prompt_chars: int = Field(default=2000, ge=1)
    """Longest prompt that is usable, in characters."""

    @field_validator("uri", mode="before")
    @classmethod
    def _check_uri(cls, given: Any) -> Any:
        """Keep the one of a list of one as it is: both name the same set, and the same run."""
        several = list(given) if isinstance(given, list | tuple) else [given]
        if not several or not all(isinstance(uri, str) for uri in several):
            raise ValueError("expected a location, or a list of them")
        for uri in several:
            refuse_credentials(uri)
        return several[0] if len(several) == 1 else tuple(several)

    @property
    def uris(self) -> tuple[str, ...]:
        """All locations, in order."""
        return (self.uri,) if isinstance(self.uri, str) else self.uri

    @property
    def label(self) -> str:
        """All locations, for people."""
        return ", ".join(self.uris)


SPLITTERS = ("auto", "offline", "anthropic")


class SplitConfig(LlmConfig, title="Splitting prompts into background and entities"):
    """How groups are split into background and entities, by a language model for one."""

    splitter: str = "auto"
    """Who splits groups that are not split already: rules (offline), a language model (anthropic),
    or a splitter that another package registered. auto: offline; a key in the environment asks
    nobody."""

    @field_validator("splitter")
    @classmethod
    def _check_splitter(cls, name: str) -> str:
        if name not in SPLITTERS and name not in find_plugins("splitters"):
            known = ", ".join((*SPLITTERS, *sorted(find_plugins("splitters"))))
            raise ValueError(f"there is no such splitter: expected one of {known}")
        return name


QUANTIZATIONS = ("none", "int8", "int8-dynamic", "fp8", "nf4")
MAX_SIDE_PX = 4096
"""Four times what FLUX is trained on; attention over a larger image fits no GPU."""


class GenerationConfig(Settings, title="Images"):
    """How images are made. None means: what suits the base model or the schedule."""

    base_model: str = "miniature"
    """FLUX or Qwen-Image model: a Hugging Face id, a folder, or `miniature`, which is shipped."""
    revision: str | None = None
    """Commit or tag of a Hugging Face model. Default: the newest."""
    schedule: str | None = None
    """Schedule file (JSON). Default: the one shipped for the base model."""
    coupling_mode: CouplingMode | None = None
    """How the images of a group are coupled. Default: as the schedule, or else the base model,
    says."""
    entity_text: EntityText = "full_prompt"
    """What the entity stream reads: an image's full prompt, or its entity alone as the paper has
    it."""
    num_inference_steps: int | None = Field(default=None, ge=1, le=1000)
    """Denoising steps. Default: the base model's."""
    guidance_scale: float | None = Field(default=None, ge=0.0)
    """How strongly the images follow their prompts. Default: the base model's."""
    width: int | None = Field(default=None, ge=16, le=MAX_SIDE_PX)
    """Width of the images in pixels. Default: the base model's."""
    height: int | None = Field(default=None, ge=16, le=MAX_SIDE_PX)
    """Height of the images in pixels. Default: the base model's."""
    max_sequence_length: int | None = Field(default=None, ge=1)
    """Tokens that each text stream reads at most. Default: the base model's."""
    seed: int = 0
    """Groups without a seed of their own derive theirs from this one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the base model. auto: bfloat16 on CUDA, else float32."""
    device: str = "auto"
    """auto, cuda, cuda:N, mps or cpu. auto: cuda, else mps, else cpu."""
    offload: Literal["none", "model", "disk", "group", "sequential", "auto"] = "none"
    """Where idle parts of the model are, for a smaller GPU; slower from left to right. model: in
    main memory. disk: text encoders and transformer are loaded in turn, for little main memory.
    group, sequential: layer by layer, group fetching ahead. auto: the first of these that fits."""
    # Those with `exclude_if` came later: left out where they say nothing, they change no older id.
    quantize: str = Field(default="none", exclude_if=lambda given: given == "none")
    """Store the transformer's weights in fewer bits: int8, int8-dynamic (activations, too) or fp8
    (extra `quantize`), nf4 (bitsandbytes, CUDA), or gguf:FILE. Other images than without."""
    lora: tuple[str, ...] = Field(default=(), exclude_if=lambda given: not given)
    """LoRAs, each a file or a Hugging Face id, OWNER/NAME or OWNER/NAME/FILE, and :WEIGHT unless 1;
    several, separated by commas (extra `lora`)."""
    transformer: str | None = Field(default=None, exclude_if=lambda given: given is None)
    """Single file (.safetensors) with the transformer's weights, such as a fine-tune; all else is
    the base model's."""
    compile: bool = Field(default=False, exclude_if=lambda given: not given)
    """Compile the blocks of the base model with torch.compile: the first batches take minutes
    longer, and pixels may differ by rounding. Needs a C++ compiler."""
    batch_size: int = Field(default=8, ge=1)
    """Most groups that are denoised together, fewer where memory is short; does not change the
    images. A kill costs the batch under
    way, and at most two before it that are not stored yet."""

    @field_validator("quantize")
    @classmethod
    def _check_quantize(cls, name: str) -> str:
        if name == "nunchaku":
            raise ValueError(
                "nunchaku computes attention inside blocks of its own, where it cannot be coupled: "
                f"expected {', '.join(QUANTIZATIONS)} or gguf:FILE"
            )
        if name not in QUANTIZATIONS and not re.fullmatch("gguf:.+", name):
            raise ValueError(f"expected {', '.join(QUANTIZATIONS)} or gguf:FILE")
        return name


class ScoringConfig(Settings, title="Scores"):
    """How pairs are measured."""

    sam_model: str = "miniature"
    """Segment Anything: `miniature`, or TYPE:CHECKPOINT such as vit_h:sam_vit_h_4b8939.pth (or
    vit_l, vit_b)."""
    clip_model: str = "miniature"
    """open_clip: `miniature`, ARCHITECTURE:PRETRAINED, hf-hub:ID or local-dir:FOLDER."""
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", exclude_if=lambda given: given == "float32"
    )
    """Number format of Segment Anything and CLIP. float32 gives the scores that all figures of this
    package were measured with. Half precision is for GPUs, where ViT-H otherwise costs 5 % of a
    pair's denoising at 1024 px and 18 % at 512 (computed, not timed)."""
    unfit_judges: bool = False
    """Let the miniature's Segment Anything or CLIP judge another base model, whose images they do
    not understand."""


if TYPE_CHECKING:

    class FilterConfig(Settings):
        """What is kept: the bound of each filter, by its setting."""

        def __init__(self, **bounds: float) -> None: ...
        def __getattr__(self, name: str) -> float: ...

else:
    # Fields cannot be written out here: the table of filters grows with other packages' entries.
    FilterConfig = create_model(
        "FilterConfig",
        __base__=Settings,
        __module__=__name__,
        __cls_kwargs__={"title": "What is kept"},
        __doc__="What is kept: the bound of each filter, by its setting.",
        **{
            each.setting: (
                float if each.miniature_default is None else float | None,
                Field(
                    each.default if each.miniature_default is None else None,
                    description=each.description,
                    **each.limits,
                ),
            )
            for each in list_filters()
        },
    )


class SelectionConfig(Settings, title="Best of several seeds"):
    """How often a group is tried, and how many of its pairs are kept.

    Where one seed fails the filter another may pass. The defaults try each requested seed once and
    keep every pair that passes.
    """

    attempts: int = Field(default=1, ge=1, le=1000)
    """Most seeds to try in the place of each requested one: groups that lack kept pairs are tried
    again, round by round."""
    quota: int | None = Field(default=None, ge=1)
    """Most pairs to keep of each two prompts of a group: the best by the combined metric. Default:
    as many as seeds are requested."""
    early_stop: bool = True
    """Whether a group whose quotas are met is done; otherwise every attempt is made, and the best
    of all are kept."""


class ContentFilterConfig(Settings, title="What no kept image may show"):
    """What no kept image may show."""

    concept_list: ConceptList | Literal["auto", "off"] | None = "auto"
    """Concepts that no kept image may show: a JSON file of them, or `off`. Default: the shipped
    list; off with the miniature's CLIP, which knows none of its words."""

    @field_validator("concept_list", mode="before")
    @classmethod
    def _read_list(cls, given: Any) -> Any:
        if given in ("off", False):  # YAML reads `off` as false
            return None
        is_file = isinstance(given, str) and given != "auto"
        return read_concepts(Path(given)) if is_file else given

    @property
    def concepts(self) -> ConceptList | None:
        """The list; None: off, or "auto" without a run whose CLIP could decide."""
        return self.concept_list if isinstance(self.concept_list, ConceptList) else None

    def __hash__(self) -> int:
        return hash(fingerprint(self))  # a concept list holds a dictionary


class DuplicatesConfig(Settings, title="Near-duplicates"):
    """When a pair counts as a near-duplicate of another: both images are near, in either order.

    Two images are near when both measures say so: the perceptual hash compares the layout in grey,
    CLIP what is shown.
    """

    drop: bool = True
    """Drop a new pair that duplicates one of the dataset, or a better one of the same run."""
    max_phash_distance: int = Field(default=6, ge=0, le=16)
    """Bits of 64 in which the perceptual hashes of near images may differ."""
    min_clip_similarity: float = Field(default=0.97, gt=0.0, le=1.0)
    """Least cosine of the CLIP codes of near images."""


class OutputConfig(Settings, title="Dataset"):
    """Where the dataset goes."""

    uri: str = "coupled-dataset"
    """Dataset: a folder or s3://BUCKET/PREFIX."""
    shard_size: int = Field(default=16, ge=1)
    """Groups a shard, the unit of parallelism, retry and output files."""
    single_writer: bool = False
    """Promise that nothing else writes there: for stores that ignore conditional writes."""
    image_format: Literal["png", "webp"] = "png"
    """Format of the stored images; both are lossless."""
    store_dropped: bool = False
    """Store the images of dropped pairs, too (never unsafe ones), so that `coupled recut` can
    loosen thresholds later. Readers of kept pairs never meet them."""
    store_background: bool = Field(default=False, exclude_if=lambda given: not given)
    """Store each pair's background image and both regions, too: three more columns of the image
    parts. Mode region alone makes them."""

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        return refuse_credentials(uri)
