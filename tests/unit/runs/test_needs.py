"""What a build takes of a machine."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from coupled_core.config import RunConfig, ScoringConfig
from coupled_core.generation.model_files import KNOWN_MODELS, TransformerShape, find_model_files
from coupled_core.generation.provenance import resolve_generation
from coupled_core.runs.needs import Needs, beside_bytes, find_needs

MINIATURE = find_model_files("miniature", None)
DEV = KNOWN_MODELS["black-forest-labs/FLUX.1-dev"]
FLUX_FILES = replace(
    MINIATURE, name=DEV.id, folder=None, known=DEV, transformer=TransformerShape(),
    size_multiple_px=16,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def _flux(device_name: str, offload: str = "none") -> Needs:
    config = RunConfig.model_validate({"generation": {"offload": offload}})
    made = replace(
        resolve_generation(RunConfig().generation),
        base_model=DEV.id,
        num_inference_steps=28,
        width=1024,
        height=1024,
        max_sequence_length=512,
        dtype="bfloat16",
        device_name=device_name,
    )
    return find_needs(config, made, FLUX_FILES)


def test_an_image_of_flux_on_a_known_card_takes_its_operations_over_the_cards_rate() -> None:
    time = _flux("NVIDIA H200").image_time
    assert time is not None
    # 28 steps of 74.4 TFLOP, 1.13 times for two texts, at 791 TFLOP/s, and 0.25 s for the rest.
    assert time.seconds == pytest.approx((3.22, 4.56), abs=0.02)
    assert "H200" in time.source and "not measured" in time.source
    slower = _flux("NVIDIA A100-SXM4-80GB").image_time
    assert slower is not None and slower.seconds[0] > 2.5 * time.seconds[0]


def test_a_card_that_nobody_knows_has_no_time() -> None:
    assert _flux("NVIDIA GeForce GT 710").image_time is None
    assert _flux("cpu x86_64").image_time is None


def test_a_longer_name_is_not_taken_for_a_shorter_one() -> None:
    a10, a100 = (_flux(f"NVIDIA {name}").image_time for name in ("A10", "A100"))
    assert a10 is not None and a100 is not None
    assert a10.seconds[0] > a100.seconds[0]


def test_memory_and_download_are_those_of_the_weights() -> None:
    needs = _flux("NVIDIA H200")
    assert needs.download_bytes == pytest.approx(33.7e9, rel=0.01)
    assert needs.memory is not None
    assert sum(needs.memory.plan.weights.values()) == pytest.approx(33.7e9, rel=0.01)
    assert needs.pair_bytes == (2 * 2**20, 4 * 2**20)


def test_a_stored_background_takes_half_as_much_again() -> None:
    sizes = []
    for is_stored in (False, True):
        config = RunConfig.model_validate({"output": {"store_background": is_stored}})
        needs = find_needs(config, resolve_generation(config.generation), MINIATURE)
        sizes.append(needs.pair_bytes)
    assert sizes[1] == tuple(1.5 * size for size in sizes[0])


def test_the_miniature_on_a_cpu_takes_what_was_seen() -> None:
    config = RunConfig.model_validate({"generation": {"device": "cpu"}})
    needs = find_needs(config, resolve_generation(config.generation), MINIATURE)
    assert needs.image_time is not None and "as seen" in needs.image_time.source
    assert needs.download_bytes == 0
    assert needs.memory is not None and not needs.memory.refusal
    assert needs.memory.peak < 2**30


def test_the_peak_is_that_of_a_whole_batch_with_the_images_decoded_together() -> None:
    config = RunConfig.model_validate({"generation": {"device": "cpu", "batch_size": 5}})
    small = resolve_generation(config.generation)
    large = replace(small, width=2048, height=1024)
    for made, decoded in ((small, 15), (large, 2)):  # of 5 groups: two images and a background
        use = find_needs(config, made, MINIATURE).memory
        assert use is not None
        assert use.num_decoded == decoded
        assert use.peak == max(use.plan.phases("none", 5, decoded).values())


def test_segment_anything_at_work_counts_beside_its_weights() -> None:
    small, large = (ScoringConfig(sam_model=f"{kind}:gone.pth") for kind in ("vit_b", "vit_h"))
    assert beside_bytes(ScoringConfig()) < beside_bytes(small) < beside_bytes(large)


def test_scorers_in_half_precision_take_half_of_it() -> None:
    settings = {"sam_model": "vit_h:gone.pth", "clip_model": "ViT-L-14:openai"}
    whole, half = (
        beside_bytes(ScoringConfig(**settings, dtype=dtype)) for dtype in ("float32", "float16")
    )
    assert whole == 2 * half
