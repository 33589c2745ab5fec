"""Every column of the manifest, with type, stage and meaning; the Arrow schemas made of them.

Columns are only ever added. Where one was renamed, readers find it under its old name too.
"""

# ruff: noqa: E501  (a table reads best with one column a line)

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from coupled_core.errors import DatasetError

ColumnStage = Literal["plan", "split", "generate", "write", "score", "filter"]
"""Who fills a column; "write" is the encoding of images and their placement in a part."""


@dataclass(frozen=True)
class Column:
    """One column. It is null where its stage did not run, and where the meaning says so."""

    name: str
    type: pa.DataType
    stage: ColumnStage
    meaning: str
    required: bool = False
    """Filled in every row, failed and quarantined ones too."""


_TEXT, _FLAG, _INT, _LONG, _REAL = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float64()
_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())

COLUMNS = (
    # Identity.
    Column("pair_id", _TEXT, "plan", "Hash of group, prompts, split, seed and generation settings; 32 hex digits, unique.", True),
    Column("group_id", _TEXT, "plan", "Group of prompts in the prompt set; null where the input row had none."),
    Column("image_index_0", _INT, "plan", "Which prompt of the group made image 0, from 0."),
    Column("image_index_1", _INT, "plan", "Which prompt of the group made image 1."),
    Column("run_id", _TEXT, "plan", "Hash of settings and inputs of the run that made the row.", True),
    Column("shard_index", _INT, "plan", "Shard of that run, from 0.", True),
    Column("partition", _TEXT, "split", "train, val or test by hash of the background prompt: no background is in two."),
    Column("source_file", _TEXT, "plan", "File of the prompt set.", True),
    Column("source_row", _LONG, "plan", "Row in that file, from 0, without header, comments and blank lines.", True),
    Column("extra", _TEXT, "plan", "Unknown columns of the prompt set, as a JSON object; null where there are none."),
    # Text.
    Column("prompt_0", _TEXT, "plan", "Full prompt of image 0."),
    Column("prompt_1", _TEXT, "plan", "Full prompt of image 1."),
    Column("background_prompt", _TEXT, "split", "What both images share, in words."),
    Column("entity_0", _TEXT, "split", "What only image 0 shows."),
    Column("entity_1", _TEXT, "split", "What only image 1 shows."),
    Column("edit_instruction", _TEXT, "split", "Turns image 0 into image 1; null where none could be trusted."),
    Column("inverse_instruction", _TEXT, "split", "Turns image 1 into image 0; null where none could be trusted."),
    Column("instruction_source", _TEXT, "split", "Who wrote edit_instruction: rule, model or given (by the prompt set); null without one."),
    Column("inverse_source", _TEXT, "split", "Who wrote inverse_instruction; null without one."),
    Column("instruction_missing", _TEXT, "split", "Why edit_instruction is null; null where there is one."),
    Column("inverse_missing", _TEXT, "split", "Why inverse_instruction is null; null where there is one."),
    Column("variation_kind", _TEXT, "split", "entity_swap, pose, position or appearance."),
    Column("split_source", _TEXT, "split", "Where the split came from: batch, online, cache, offline or given."),
    Column("split_model", _TEXT, "split", "Language model that split; null for offline and given splits."),
    Column("split_prompt_version", _TEXT, "split", "Version of its instruction or of the offline algorithm; null when given."),
    Column("split_request_sha256", _TEXT, "split", "Identifies the request to the splitter."),
    # Generation.
    Column("seed", _LONG, "plan", "Seed of the noise that both images start from."),
    Column("base_model", _TEXT, "generate", "Hugging Face id or name of the image model."),
    Column("base_model_revision", _TEXT, "generate", "Commit of a Hugging Face model; SHA-256 over the files of a folder."),
    Column("weights", _TEXT, "generate", "Quantisation, single file and LoRAs (name@hash*weight) of its transformer; null: the base model as it is, and before 2.3."),
    Column("schedule_id", _TEXT, "generate", "Content hash of the coupling schedule."),
    Column("coupling_mode", _TEXT, "generate", "log_bias, key_scale or region."),
    Column("num_inference_steps", _INT, "generate", "Denoising steps."),
    Column("guidance_scale", _REAL, "generate", "Guidance that the model was given; 0 where it takes none."),
    Column("max_sequence_length", _INT, "generate", "Tokens of each text stream, at most."),
    Column("entity_text", _TEXT, "generate", "What the entity stream read: full_prompt or entity_prompt."),
    Column("sampler_version", _INT, "generate", "Version of the rule by which that mode makes images: two versions give other pixels from the same settings."),
    Column("width", _INT, "generate", "Pixels, of both images."),
    Column("height", _INT, "generate", "Pixels, of both images."),
    Column("dtype", _TEXT, "generate", "Number format of the model."),
    Column("device_name", _TEXT, "generate", "Hardware that made the images."),
    Column("generate_seconds", _REAL, "generate", "Wall time of the group's images: its share of the batch."),
    Column("batch_size", _INT, "generate", "Groups that were denoised together, this one included; fewer than `--batch-size` where memory lacked or sizes differed; null before 2.2."),
    Column("region_fraction", _REAL, "generate", "Share of the frame in mode region's region, where the images are not the background, [0, 1]; null in other modes and before 2.4."),
    Column("attempt", _INT, "plan", "1 with a requested seed, 2 and more where `--attempts` tried again with another; null for quarantined rows."),
    Column("torch_version", _TEXT, "plan", "Version of PyTorch.", True),
    Column("diffusers_version", _TEXT, "plan", "Version of diffusers.", True),
    Column("package_version", _TEXT, "plan", "Version of this package.", True),
    Column("code_revision", _TEXT, "plan", "Commit of this package; null where it is not known."),
    # Images.
    Column("image_0_sha256", _TEXT, "write", "SHA-256 of the encoded image 0."),
    Column("image_1_sha256", _TEXT, "write", "SHA-256 of the encoded image 1."),
    Column("image_0_bytes", _LONG, "write", "Size of the encoded image 0."),
    Column("image_1_bytes", _LONG, "write", "Size of the encoded image 1."),
    Column("image_0_phash", _TEXT, "write", "64-bit perceptual hash of image 0, 16 hex digits."),
    Column("image_1_phash", _TEXT, "write", "64-bit perceptual hash of image 1, 16 hex digits."),
    Column("image_0_clip_code", _TEXT, "score", "CLIP embedding of image 0 folded to 64 signed bytes, 128 hex digits: near images have near codes."),
    Column("image_1_clip_code", _TEXT, "score", "The same of image 1."),
    Column("image_part", _TEXT, "write", "Part that holds the images, relative to the dataset; null where none are stored: dropped pairs, unless the settings say otherwise."),
    Column("image_row", _LONG, "write", "Row in that part, from 0; null where no images are stored."),
    # Masks.
    Column("mask_0_area_fraction", _REAL, "score", "Share of image 0 that its entity covers, [0, 1]."),
    Column("mask_1_area_fraction", _REAL, "score", "Share of image 1 that its entity covers, [0, 1]."),
    Column("mask_0_predicted_iou", _REAL, "score", "Segment Anything's own estimate for mask 0; 0 where none was found."),
    Column("mask_1_predicted_iou", _REAL, "score", "Segment Anything's own estimate for mask 1."),
    Column("mask_0_touches_border", _FLAG, "score", "Mask 0 reaches the edge of the image."),
    Column("mask_1_touches_border", _FLAG, "score", "Mask 1 reaches the edge of the image."),
    Column("joint_entity_fraction", _REAL, "score", "Share of the frame in the joint entity region, the union of both masks, [0, 1]."),
    Column("validity_ratio", _REAL, "score", "1 - joint_entity_fraction: the share that is compared as background."),
    Column("sam_model", _TEXT, "score", "Segment Anything model that made the masks."),
    # Metrics.
    Column("background_similarity", _REAL, "score", "S <= 0; 0 is identical outside the joint entity region, -inf where nothing is outside."),
    Column("clip_sim_0", _REAL, "score", "CLIP cosine of image 0 and its prompt, [-1, 1]."),
    Column("clip_sim_1", _REAL, "score", "CLIP cosine of image 1 and its prompt, [-1, 1]."),
    Column("alignment", _REAL, "score", "T = 100 * mean(clip_sim_0, clip_sim_1)."),
    Column("combined", _REAL, "score", "J = 0.03495 S + 0.05 T + 0.5; the filter's threshold is on this."),
    Column("clip_sim_image", _REAL, "score", "CLIP cosine of the two images."),
    Column("clip_sim_dir", _REAL, "score", "CLIP cosine of the change of image and the change of prompt."),
    Column("background_psnr", _REAL, "score", "Decibels outside the joint entity region, at most 100."),
    Column("background_ssim", _REAL, "score", "Mean structural similarity outside the joint entity region."),
    Column("pixel_mse", _REAL, "score", "Mean squared difference of the whole images, 0..255 scale."),
    Column("equal_fraction", _REAL, "score", "Share of the frame in which both images have the very same pixels, [0, 1]; null in rows of schemas before 2.1."),
    Column("background_similarity_clear", _REAL, "score", "background_similarity with 6 % of the shorter side around the masks left out as well, unless nothing would be left; null before 2.1."),
    Column("rim_seam", _REAL, "score", "Levels a pixel by which brightness changes more steeply around the entities than at the same places of the other image; null before 2.1."),
    Column("crop_evidence_0", _REAL, "score", "How much of the entity of image 0 seems to lie just outside its region, which crops it: mean difference of the predictions in a ring around the region, over the mean inside, while it is made; null without a region and before 2.4."),
    Column("crop_evidence_1", _REAL, "score", "The same of image 1."),
    Column("clip_model", _TEXT, "score", "CLIP model behind the CLIP columns."),
    Column("metric_version", _TEXT, "score", "Version of the metric definitions."),
    Column("extra_scores", _TEXT, "score", "Numbers of the scores that other packages registered, as a JSON object; null where there are none."),
    # Decision.
    Column("kept", _FLAG, "filter", "The pair is in the dataset; false for dropped, failed and quarantined rows.", True),
    Column("reject_reasons", _TEXTS, "filter", "Why it is not kept, from a fixed list; empty for kept pairs.", True),
    Column("status", _TEXT, "filter", "ok (went through every stage), failed or quarantined.", True),
    Column("duplicate_of", _TEXT, "filter", "pair_id of the pair that this one was found to duplicate; null: of none."),
    Column("error_message", _TEXT, "filter", "What went wrong; null when status is ok."),
    Column("review_status", _TEXT, "filter", "A person's verdict: keep or drop; null before review."),
    # Governance.
    Column("license", _TEXT, "generate", "Licence of the base model, which governs its outputs."),
    Column("use_restrictions", _TEXT, "generate", "What that licence forbids to do with the images."),
    Column("ai_generated", _FLAG, "plan", "Always true: to be disclosed where the images are shown.", True),
    Column("content_filter_version", _TEXT, "score", "Version of the content filter; null where none ran."),
    Column("content_concepts", _TEXTS, "score", "Unwanted concepts that the content filter found in either image; null where none ran."),
    Column("created_at", _TIME, "plan", "When the row was made, UTC.", True),
    Column("config_sha256", _TEXT, "plan", "Hash of all settings of the run; the snapshot holds them in full.", True),
    Column("llm_cost_usd", _REAL, "split", "The pair's share of what splitting its group cost; all of it stands in first attempts."),
    Column("gpu_seconds", _REAL, "generate", "The pair's share of generate_seconds."),
)  # fmt: skip

SCHEMA_VERSION = "2.4"
"""major.minor: minor grows with each new column; a new major could not be read by old readers."""
OLD_NAMES = {"split": "partition"}
"""Columns as major version 1 called them, and their present names."""

_IMAGES_SCHEMA_VERSION = "1.0"
"""Image parts have not changed since; so their bytes, and with them their names, stay the same."""
_WITH_BACKGROUND_VERSION = "1.1"
IMAGE_FIELDS = ("image_0", "image_1", "mask_0", "mask_1")
BACKGROUND_FIELDS = ("background", "region_0", "region_1")
"""Further columns of image parts where the settings ask for them."""
_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


def _hugging_face_features(names: Sequence[str]) -> str:
    features = {"pair_id": {"dtype": "string", "_type": "Value"}}
    images: dict[str, dict[str, str]] = {name: {"_type": "Image"} for name in names}
    return json.dumps({"info": {"features": {**features, **images}}})


def _images_schema(names: Sequence[str], version: str) -> pa.Schema:
    return pa.schema(
        [pa.field("pair_id", pa.string(), nullable=False), *(pa.field(n, _IMAGE) for n in names)],
        metadata={"schema_version": version, "huggingface": _hugging_face_features(names)},
    )


MANIFEST_SCHEMA = pa.schema(
    [
        pa.field(c.name, c.type, not c.required, {"meaning": c.meaning, "stage": c.stage})
        for c in COLUMNS
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)  # fmt: skip
"""One row a pair, kept and dropped; no image bytes."""

IMAGES_SCHEMA = _images_schema(IMAGE_FIELDS, _IMAGES_SCHEMA_VERSION)
"""One row a kept pair. Masks are 8-bit grey, 255 on the entity. `datasets` decodes all four."""
IMAGES_AND_BACKGROUND_SCHEMA = _images_schema(
    (*IMAGE_FIELDS, *BACKGROUND_FIELDS), _WITH_BACKGROUND_VERSION
)
"""The same with what both images share, and 8-bit grey regions: where one is 0, its image is the
background."""


def check_schema_version(found: str, where: str) -> None:
    """Refuse data of a newer major version; those before are read.

    Raises:
        DatasetError: this package cannot read it.
    """
    if int(found.partition(".")[0]) > int(SCHEMA_VERSION.partition(".")[0]):
        raise DatasetError(
            f"{where} has schema version {found}, this package reads up to {SCHEMA_VERSION}: "
            "update it"
        )


def check_rewritable(found: str, where: str) -> None:
    """Refuse to write rows of a newer version anew: columns that only it knows would be lost.

    Raises:
        DatasetError: this package writes an older version.
    """
    version, own = (tuple(map(int, each.split("."))) for each in (found, SCHEMA_VERSION))
    if version > own:
        raise DatasetError(
            f"{where} has schema version {found}, this package writes {SCHEMA_VERSION}: rows that "
            "it writes anew would lose newer columns; update it"
        )


def present_names(found: pa.Schema) -> pa.Schema:
    """Return the schema of a part with the present names of its columns."""
    return pa.schema([field.with_name(OLD_NAMES.get(field.name, field.name)) for field in found])
