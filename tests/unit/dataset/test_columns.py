"""The columns are a promise: they may grow, but none may change its name or type."""

import json
from typing import get_args

import pytest

from coupled_core.dataset.columns import (
    COLUMNS,
    IMAGES_SCHEMA,
    MANIFEST_SCHEMA,
    SCHEMA_VERSION,
    ColumnStage,
    check_schema_version,
)
from coupled_core.errors import DatasetError

FROZEN = """
pair_id: string
group_id: string
image_index_0: int32
image_index_1: int32
run_id: string
shard_index: int32
partition: string
source_file: string
source_row: int64
extra: string
prompt_0: string
prompt_1: string
background_prompt: string
entity_0: string
entity_1: string
edit_instruction: string
inverse_instruction: string
instruction_source: string
inverse_source: string
instruction_missing: string
inverse_missing: string
variation_kind: string
split_source: string
split_model: string
split_prompt_version: string
split_request_sha256: string
seed: int64
base_model: string
base_model_revision: string
weights: string
schedule_id: string
coupling_mode: string
num_inference_steps: int32
guidance_scale: double
max_sequence_length: int32
entity_text: string
sampler_version: int32
width: int32
height: int32
dtype: string
device_name: string
generate_seconds: double
batch_size: int32
region_fraction: double
attempt: int32
torch_version: string
diffusers_version: string
package_version: string
code_revision: string
image_0_sha256: string
image_1_sha256: string
image_0_bytes: int64
image_1_bytes: int64
image_0_phash: string
image_1_phash: string
image_0_clip_code: string
image_1_clip_code: string
image_part: string
image_row: int64
mask_0_area_fraction: double
mask_1_area_fraction: double
mask_0_predicted_iou: double
mask_1_predicted_iou: double
mask_0_touches_border: bool
mask_1_touches_border: bool
joint_entity_fraction: double
validity_ratio: double
sam_model: string
background_similarity: double
clip_sim_0: double
clip_sim_1: double
alignment: double
combined: double
clip_sim_image: double
clip_sim_dir: double
background_psnr: double
background_ssim: double
pixel_mse: double
equal_fraction: double
background_similarity_clear: double
rim_seam: double
crop_evidence_0: double
crop_evidence_1: double
clip_model: string
metric_version: string
extra_scores: string
kept: bool
reject_reasons: list<item: string>
status: string
duplicate_of: string
error_message: string
review_status: string
license: string
use_restrictions: string
ai_generated: bool
content_filter_version: string
content_concepts: list<item: string>
created_at: timestamp[us, tz=UTC]
config_sha256: string
llm_cost_usd: double
gpu_seconds: double"""


def test_names_and_types_of_the_manifest_are_frozen() -> None:
    found = [f"{field.name}: {field.type}" for field in MANIFEST_SCHEMA]
    assert found == FROZEN.split("\n")[1:]


def test_every_column_is_documented_and_belongs_to_a_stage() -> None:
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    for field in MANIFEST_SCHEMA:
        assert field.metadata[b"meaning"].endswith(b".")
    assert {column.stage for column in COLUMNS} == set(get_args(ColumnStage))


def test_image_columns_are_hugging_face_images() -> None:
    features = json.loads(IMAGES_SCHEMA.metadata[b"huggingface"])["info"]["features"]
    assert {name for name, kind in features.items() if kind == {"_type": "Image"}} == {
        "image_0",
        "image_1",
        "mask_0",
        "mask_1",
    }


def test_a_newer_major_version_is_refused_and_older_ones_are_read() -> None:
    for version in ("1.0", "1.7", SCHEMA_VERSION, "2.7"):
        check_schema_version(version, "snapshot x")
    with pytest.raises(DatasetError, match=r"snapshot x has schema version 3\.0.*up to 2\.4"):
        check_schema_version("3.0", "snapshot x")
