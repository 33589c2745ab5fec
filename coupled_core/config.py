"""Settings of a run: one frozen class a stage under one `RunConfig`; secrets never live here."""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from coupled_core.concepts import SHIPPED, ConceptList

CouplingMode = Literal["log_bias", "key_scale", "region"]
EntityText = Literal["full_prompt", "entity_prompt"]

MINIATURE_MIN_COMBINED = 4.4
"""Where the miniature's CLIP judges: trained on this world alone, its cosines are four times those
of CLIP models
trained on photographs (0.9 for the right caption, 0.45 where the entity is another or missing)."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class PromptSetConfig(_Settings):
    """Where the prompts come from."""

    uri: str = "miniature"
    """Parquet file, folder of Parquet files, or s3:// location.

    "miniature" is the example set that the package ships, "miniature-train" and "miniature-test"
    are its sets for tuning and for comparing methods.
    """
    on_bad_row: Literal["fail", "quarantine"] = "fail"
    trust_splits: bool = False
    """Given splits are not compared with their prompts, as for splits in another language."""
    max_prompt_chars: int = Field(default=2000, ge=1)


class ModelPrice(_Settings):
    """What a language model costs, in USD per million tokens."""

    input_usd: float = Field(ge=0.0)
    output_usd: float = Field(ge=0.0)
    batch_factor: float = Field(default=0.5, ge=0.0)
    """Of both, where requests go through Message Batches."""


DEFAULT_PRICES: Mapping[str, ModelPrice] = MappingProxyType(
    {
        "claude-haiku-5-5": ModelPrice(input_usd=0.10, output_usd=0.50),
        "claude-haiku-4-5": ModelPrice(input_usd=1.00, output_usd=5.00),
        "claude-sonnet-5-5": ModelPrice(input_usd=2.00, output_usd=10.00),
        "claude-sonnet-5": ModelPrice(input_usd=2.00, output_usd=10.00),
        "claude-opus-5-5": ModelPrice(input_usd=4.00, output_usd=20.00),
        "claude-opus-5": ModelPrice(input_usd=5.00, output_usd=25.00),
    }
)
"""List prices of November 2026 for prompts of ordinary length."""


class SplitConfig(_Settings):
    """How groups are split into background and entities. The API key is never a setting."""

    splitter: Literal["auto", "offline", "anthropic"] = "auto"
    """auto: anthropic where ANTHROPIC_API_KEY is set, else offline."""
    model: str = "claude-haiku-5-5"
    thinking: Literal["disabled", "adaptive"] = "disabled"
    """adaptive for models that cannot answer without thinking; thoughts are paid as output."""
    transport: Literal["auto", "online", "batch"] = "auto"
    """batch: Message Batches, half the price, up to 24 hours. auto: batch for large sets."""
    batch_size: int = Field(default=10_000, ge=1, le=100_000)
    """Most requests in one batch; bounds memory as well."""
    max_concurrency: int = Field(default=16, ge=1, le=512)
    """Most online requests at a time."""
    max_requests_per_minute: float | None = Field(default=None, gt=0.0)
    """Of online requests. None: as fast as the API's own limit lets us."""
    cache_uri: str | None = None
    """Folder or s3:// prefix that keeps every answer. None: with the dataset."""
    max_llm_usd: float | None = Field(default=None, ge=0.0)
    """The most that a run may spend on answers, all its attempts together."""
    refresh: bool = False
    """Ask again where the cache has an answer that another run paid for."""
    prices: Mapping[str, ModelPrice] = Field(default_factory=lambda: dict(DEFAULT_PRICES))
    """By model; models that are not named keep their list price."""

    @field_validator("prices")
    @classmethod
    def _keep_list_prices(cls, given: Mapping[str, ModelPrice]) -> Mapping[str, ModelPrice]:
        return {**DEFAULT_PRICES, **given}

    def __hash__(self) -> int:
        return hash(fingerprint(self))  # the price table is a dictionary


class GenerationConfig(_Settings):
    """How images are made. None means: what suits the base model or the schedule."""

    base_model: str = "miniature"
    """Hugging Face id, local folder, or "miniature" (shipped with the package)."""
    revision: str | None = None
    """Commit or tag of a Hugging Face model."""
    schedule: str | None = None
    """Path of a schedule file; None: the one shipped for the base model."""
    coupling_mode: CouplingMode | None = None
    """None: the mode that the schedule was made for."""
    entity_text: EntityText = "full_prompt"
    """What the entity stream reads: the full prompt P_i, or e_i as the paper has it."""
    num_inference_steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0.0)
    width: int | None = Field(default=None, ge=16)
    """Pixels."""
    height: int | None = Field(default=None, ge=16)
    """Pixels."""
    max_sequence_length: int | None = Field(default=None, ge=1)
    """T5 tokens of each text stream."""
    seed: int = 0
    """Groups without a seed of their own derive theirs from this one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 on CUDA, else float32."""
    device: str = "auto"
    """auto: cuda, else mps, else cpu."""
    offload: Literal["none", "model", "sequential"] = "none"
    """Where model parts wait while they are not in use (diffusers' CPU offload)."""
    batch_size: int = Field(default=8, ge=1)
    """Groups that are denoised together; does not change the images."""


class ScoringConfig(_Settings):
    """How pairs are measured."""

    sam_model: str = "miniature"
    """Segment Anything: "miniature", or vit_h:PATH (vit_l, vit_b) of a checkpoint."""
    clip_model: str = "miniature"
    """open_clip: "miniature", ARCHITECTURE:PRETRAINED, hf-hub:ID or local-dir:FOLDER."""


class FilterConfig(_Settings):
    """What is kept."""

    min_combined: float = 1.0
    """Least combined metric J. J scales with the CLIP model's cosines; for the miniature's,
    `RunConfig` has another
    default."""
    max_mask_fraction: float = Field(default=0.5, gt=0.0, le=1.0)
    """Largest share of an image that an entity, or the pair's joint region, may cover."""
    min_mask_fraction: float = Field(default=0.002, ge=0.0, lt=1.0)
    """A smaller mask counts as empty."""
    min_pixel_mse: float = Field(default=4.0, ge=0.0)
    """Pairs whose images differ by less (0..255 scale) are near-identical: nothing changed."""


class SelectionConfig(_Settings):
    """How often a group is tried, and how many of its pairs are kept.

    Where one seed fails the filter another may pass. The defaults try each requested seed once and
    keep every pair that passes.
    """

    attempts: int = Field(default=1, ge=1, le=1000)
    """Most seeds to try in the place of each requested one."""
    quota: int | None = Field(default=None, ge=1)
    """Most pairs to keep of each two prompts of a group: the best by the combined metric.
    None: as many as seeds are requested."""
    early_stop: bool = True
    """A group whose quotas are met is not tried again; otherwise every attempt is made, and the
    best of all is kept."""


class ContentFilterConfig(_Settings):
    """What no kept image may show."""

    concept_list: ConceptList | None = None
    """None: images are not looked at. `RunConfig` fills in the shipped list, except for the
    miniature's CLIP, which knows none of its words."""

    def __hash__(self) -> int:
        return hash(fingerprint(self))  # a concept list holds a dictionary


class DuplicatesConfig(_Settings):
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


class OutputConfig(_Settings):
    """Where the dataset goes."""

    uri: str = "coupled-dataset"
    """Folder or s3:// prefix of one dataset."""
    shard_size: int = Field(default=16, ge=1)
    """Groups a shard; the unit of parallelism, retry and output files."""
    single_writer: bool = False
    """Declare that nothing else writes here; needed for stores that ignore conditional writes."""
    image_format: Literal["png", "webp"] = "png"
    """Both lossless."""
    store_dropped: bool = False
    """Store the images of dropped pairs, too (never unsafe ones), so that thresholds can be
    loosened later without generating again. Readers of kept pairs never meet them."""


class RunConfig(_Settings):
    """All settings of a run; written out with the data."""

    prompts: PromptSetConfig = PromptSetConfig()
    split: SplitConfig = SplitConfig()
    generation: GenerationConfig = GenerationConfig()
    scoring: ScoringConfig = ScoringConfig()
    filter: FilterConfig = FilterConfig()
    selection: SelectionConfig = SelectionConfig()
    content_filter: ContentFilterConfig = ContentFilterConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    output: OutputConfig = OutputConfig()

    @model_validator(mode="before")
    @classmethod
    def _fit_threshold_to_clip(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        scoring = ScoringConfig.model_validate(data.get("scoring", {}))
        given = FilterConfig.model_validate(data.get("filter", {}))
        if scoring.clip_model != "miniature" or "min_combined" in given.model_fields_set:
            return data
        return {**data, "filter": given.model_copy(update={"min_combined": MINIATURE_MIN_COMBINED})}

    @model_validator(mode="before")
    @classmethod
    def _filter_what_clip_knows(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        scoring = ScoringConfig.model_validate(data.get("scoring", {}))
        given = ContentFilterConfig.model_validate(data.get("content_filter", {}))
        if scoring.clip_model == "miniature" or "concept_list" in given.model_fields_set:
            return data
        return {**data, "content_filter": ContentFilterConfig(concept_list=SHIPPED)}


def fingerprint(value: BaseModel | dict[str, Any]) -> str:
    """Return the SHA-256 of a setting's canonical JSON, 64 hex digits."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return hashlib.sha256(
        json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
