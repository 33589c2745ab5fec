"""The memory plan against what fake tensors count, and what it decides."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
)
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
)

from coupled_core.config import GenerationConfig
from coupled_core.coupling.attention import TextWeights
from coupled_core.coupling.cost_model import Geometry
from coupled_core.coupling.install import coupled_attention
from coupled_core.coupling.weighted_attention import TextLayout
from coupled_core.errors import ConfigError
from coupled_core.generation.budget import Budget
from coupled_core.generation.families.family import load_family_class
from coupled_core.generation.families.spec import (
    FLUX_1,
    FLUX_2_DEV,
    FLUX_2_KLEIN,
    QWEN_IMAGE,
    FamilySpec,
)
from coupled_core.generation.footprint import Footprint, find_footprint
from coupled_core.generation.memory_plan import (
    WAYS,
    MemoryPlan,
    decode_bytes,
    kept_bytes,
    plan_memory,
    step_bytes,
)
from coupled_core.generation.model_files import (
    KNOWN_MODELS,
    TransformerShape,
    find_model_files,
)
from coupled_core.generation.provenance import resolve_generation
from tests.fake_memory import count_peak

GIB = 2**30
WIDTH, HEADS = 3072, 24


@contextmanager
def _fake(dtype: torch.dtype) -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=True):
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def _build(family: FamilySpec) -> torch.nn.Module:
    if family is QWEN_IMAGE:
        return QwenImageTransformer2DModel(num_layers=1)
    sizes = {
        "num_layers": 1,
        "num_single_layers": 1,
        "num_attention_heads": HEADS,
    }
    if family is FLUX_1:
        return FluxTransformer2DModel(guidance_embeds=True, **sizes)
    return Flux2Transformer2DModel(guidance_embeds=False, joint_attention_dim=7680, **sizes)


def _call(model: torch.nn.Module, family: FamilySpec, rows: int, image: int, text: int) -> None:
    axes = 3 if family is FLUX_1 else 4
    extra = {
        "guidance": None,
        "txt_ids": torch.zeros(2 * text, axes),
        "img_ids": torch.zeros(image, axes),
    }
    if family is FLUX_1:
        extra |= {"guidance": torch.ones(rows), "pooled_projections": torch.ones(rows, 768)}
    if family is QWEN_IMAGE:
        side, places = math.isqrt(image), torch.arange(text).repeat(2)
        extra = {
            "img_shapes": [[(1, side, side)]] * rows,
            "attention_kwargs": {"text_places": places},
        }
    model(
        hidden_states=torch.zeros(rows, image, model.config.in_channels),
        encoder_hidden_states=torch.zeros(rows, 2 * text, model.config.joint_attention_dim),
        timestep=torch.ones(rows),
        return_dict=False,
        **extra,
    )


@pytest.mark.parametrize("family", [FLUX_1, FLUX_2_KLEIN, QWEN_IMAGE], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("dtype", "rows", "image"),
    [(torch.bfloat16, 2, 4096), (torch.float32, 4, 1024)],
)
def test_a_step_takes_what_the_plan_says_within_a_tenth(
    family: FamilySpec, dtype: torch.dtype, rows: int, image: int
) -> None:
    with _fake(dtype):
        model = _build(family)
        build = load_family_class(family).build_processor
        with coupled_attention(model, build, "log_bias") as attention:
            attention.weights = TextWeights(TextLayout(512, 512), torch.tensor(0.5))
            counted = count_peak(model, lambda: _call(model, family, rows, image, 512))
    geometry = Geometry(WIDTH, 1, 1, image, 512, family.block_flops)
    planned = rows * step_bytes(geometry, family, dtype.itemsize)
    assert planned == pytest.approx(counted, rel=0.1)


FULL: Mapping[str, tuple[FamilySpec, type[torch.nn.Module], dict[str, Any]]] = {
    "black-forest-labs/FLUX.1-dev": (FLUX_1, FluxTransformer2DModel, {"guidance_embeds": True}),
    "black-forest-labs/FLUX.1-schnell": (FLUX_1, FluxTransformer2DModel, {}),
    "black-forest-labs/FLUX.2-klein-4B": (
        FLUX_2_KLEIN, Flux2Transformer2DModel,
        {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24,
         "joint_attention_dim": 7680, "guidance_embeds": False},
    ),
    "black-forest-labs/FLUX.2-klein-9B": (
        FLUX_2_KLEIN, Flux2Transformer2DModel,
        {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32,
         "joint_attention_dim": 12288, "guidance_embeds": False},
    ),
    "black-forest-labs/FLUX.2-dev": (FLUX_2_DEV, Flux2Transformer2DModel, {}),
    "Qwen/Qwen-Image": (QWEN_IMAGE, QwenImageTransformer2DModel, {}),
}  # fmt: skip
"""Transformers of published size; left out is what the class has by default."""


@pytest.mark.parametrize(
    "model_id", [name for name in FULL if not name.endswith(("schnell", "klein-9B"))]
)
def test_the_plan_of_a_whole_model_at_its_own_size_is_what_is_counted(model_id: str) -> None:
    """Two images of 1024 x 1024 in bfloat16: weights, a step, and what mode region keeps."""
    family, model_class, sizes = FULL[model_id]
    with _fake(torch.bfloat16), torch.no_grad():
        model = model_class(**sizes)
        build = load_family_class(family).build_processor
        with coupled_attention(model, build, "log_bias") as attention:
            attention.weights = TextWeights(TextLayout(512, 512), torch.tensor(0.5))
            step = count_peak(model, lambda: _call(model, family, 2, 4096, 512))
            attention.weights = None
            with attention.keep(torch.arange(4096), 512):
                _call(model, family, 1, 4096, 256)
            kept = attention.num_kept_bytes
    config = model.config
    files = replace(
        find_model_files("miniature", None), folder=None, family=family, size_multiple_px=16,
        known=KNOWN_MODELS[model_id],
        transformer=TransformerShape(
            num_layers=config.num_layers,
            num_single_layers=config.get("num_single_layers", 0),
            num_attention_heads=config.num_attention_heads,
            attention_head_dim=config.attention_head_dim,
        ),
    )  # fmt: skip
    made = replace(
        resolve_generation(GenerationConfig(device="cpu")),
        width=1024, height=1024, max_sequence_length=512, dtype="bfloat16",
        coupling_mode="region",
    )  # fmt: skip
    plan = plan_memory(files, Footprint(KNOWN_MODELS[model_id].num_parameters, 0), made)
    assert plan is not None
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    print(
        f"{model_id}: weights {weights / GIB:.2f} (planned {plan.weights['transformer'] / GIB:.2f})"
        f", step {step / GIB:.2f} ({plan.step / GIB:.2f}), kept {kept / GIB:.2f} "
        f"({plan.kept / GIB:.2f}) GiB"
    )
    assert plan.weights["transformer"] == weights
    assert plan.step == pytest.approx(step, rel=0.1)
    assert plan.kept == kept


def test_what_mode_region_keeps_is_what_the_plan_says() -> None:
    with _fake(torch.bfloat16), torch.no_grad():
        model = _build(FLUX_1)
        build = load_family_class(FLUX_1).build_processor
        with coupled_attention(model, build, "region") as attention:
            with attention.keep(torch.arange(1024), 1024):
                _call(model, FLUX_1, 1, 1024, 512)
            kept = sum(
                each.untyped_storage().nbytes()
                for block in attention.blocks
                for each in block.kept or ()
            )
    assert kept_bytes(Geometry(WIDTH, 1, 1, 1024, 512), 2) == kept


def _build_vae(family: FamilySpec) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """Return an autoencoder of published size, and the shape of latents of 512 x 512 pixels."""
    if family is QWEN_IMAGE:
        return AutoencoderKLQwenImage(), (16, 1, 64, 64)
    kind, channels = (AutoencoderKL, 16) if family is FLUX_1 else (AutoencoderKLFlux2, 32)
    vae = kind(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=channels,
    )
    return vae, (channels, 64, 64)


@pytest.mark.parametrize(
    ("family", "channels"), [(FLUX_1, 256), (FLUX_2_KLEIN, 256), (QWEN_IMAGE, 192)]
)
@pytest.mark.parametrize("rows", [1, 4])
def test_decoding_takes_what_the_plan_says(family: FamilySpec, channels: int, rows: int) -> None:
    with _fake(torch.bfloat16):
        vae, shape = _build_vae(family)
        latents = torch.zeros(rows, *shape)
        counted = count_peak(vae, lambda: vae.decode(latents, return_dict=False)[0].float())
    files = replace(find_model_files("miniature", None), family=family, decoder_channels=channels)
    assert rows * decode_bytes(512 * 512, files, 2) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("model_id", FULL)
def test_known_sizes_are_those_of_the_classes_and_nearly_all_of_them_is_quantised(
    model_id: str,
) -> None:
    _, model_class, sizes = FULL[model_id]
    with torch.device("meta"):
        model = model_class(**sizes)
    total = sum(each.numel() for each in model.parameters())
    known = KNOWN_MODELS[model_id].num_parameters["transformer"]
    # All of FLUX.1's models are taken for [dev], whose guidance has an embedding.
    assert total <= known <= total * 1.001
    linear = sum(
        each.weight.numel() for each in model.modules() if isinstance(each, torch.nn.Linear)
    )
    assert linear / total > 0.998


def _qwen3(width: int, hidden: int, *, tied: bool) -> torch.nn.Module:
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=151_936, hidden_size=width, intermediate_size=hidden, num_hidden_layers=36,
            num_attention_heads=32, num_key_value_heads=8, head_dim=128, tie_word_embeddings=tied,
        )
    )  # fmt: skip


def _qwen2_vl() -> torch.nn.Module:
    text = {
        "vocab_size": 152_064, "hidden_size": 3584, "intermediate_size": 18_944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24]},
    }  # fmt: skip
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
        "out_hidden_size": 3584,
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    return Qwen2_5_VLForConditionalGeneration(config)


@pytest.mark.parametrize(
    ("model_id", "part", "build"),
    [
        (
            "black-forest-labs/FLUX.1-dev", "text_encoder_2",
            lambda: T5EncoderModel(
                T5Config(
                    vocab_size=32_128, d_model=4096, d_kv=64, d_ff=10_240, num_layers=24,
                    num_heads=64, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
                )
            ),
        ),
        (
            "black-forest-labs/FLUX.2-klein-4B", "text_encoder",
            lambda: _qwen3(2560, 9728, tied=True),
        ),
        (
            "black-forest-labs/FLUX.2-klein-9B", "text_encoder",
            lambda: _qwen3(4096, 12_288, tied=False),
        ),
        ("Qwen/Qwen-Image", "text_encoder", _qwen2_vl),
        ("Qwen/Qwen-Image", "vae", AutoencoderKLQwenImage),
        ("black-forest-labs/FLUX.1-dev", "vae", lambda: _build_vae(FLUX_1)[0]),
        ("black-forest-labs/FLUX.2-klein-4B", "vae", lambda: _build_vae(FLUX_2_KLEIN)[0]),
    ],
)  # fmt: skip
def test_known_sizes_of_text_encoders_and_autoencoders_are_those_of_the_classes(
    model_id: str, part: str, build: Callable[[], torch.nn.Module]
) -> None:
    with torch.device("meta"):
        total = sum(each.numel() for each in build().parameters())
    assert total == pytest.approx(KNOWN_MODELS[model_id].num_parameters[part], rel=0.001)


def _flux(offload: str = "none", mode: str = "log_bias", weights: str = "") -> MemoryPlan:
    """FLUX.1 [dev] at 1024 px, bfloat16."""
    files = replace(
        find_model_files("miniature", None), name="f", folder=None, size_multiple_px=16,
        known=KNOWN_MODELS["black-forest-labs/FLUX.1-dev"],
        transformer=type(find_model_files("miniature", None).transformer)(), decoder_channels=256,
    )  # fmt: skip
    made = replace(
        resolve_generation(GenerationConfig(device="cpu")),
        width=1024, height=1024, max_sequence_length=512, dtype="bfloat16",
        coupling_mode=mode, weights=weights,
    )  # fmt: skip
    plan = plan_memory(files, find_footprint(files), made)
    assert plan is not None
    return plan


def test_each_way_from_left_to_right_takes_less_of_the_device() -> None:
    peaks = {way: _flux().peak(way) for way in WAYS}
    assert peaks["none"] > peaks["disk"] > peaks["model"] > peaks["group"]
    assert _flux().host_bytes("disk") < _flux().host_bytes("model")


def test_region_keeps_two_and_two_thirds_gib_and_denoises_one_group_at_a_time() -> None:
    plan = _flux(mode="region")
    assert plan.kept / GIB == pytest.approx(2.67, abs=0.01)
    assert plan.phases("none", 8) == plan.phases("none", 1)
    assert _flux().phases("none", 8)["denoising"] > _flux().phases("none", 1)["denoising"]


def test_a_quantised_transformer_takes_its_bits() -> None:
    whole, int8, nf4 = (_flux(weights=each).weights["transformer"] for each in ("", "int8", "nf4"))
    assert (int8 / whole, nf4 / whole) == pytest.approx((0.5, 0.281), abs=0.001)
    assert _flux().quantized("int8").weights["transformer"] == int8


def test_a_batch_and_the_images_decoded_at_once_shrink_with_the_card() -> None:
    plan = _flux()
    large, small = (plan.most_groups("model", size * GIB) for size in (80, 28))
    assert large > 8 > small >= 1
    assert plan.peak("model", small) <= 28 * GIB < plan.peak("model", small + 1)
    assert plan.most_decoded("model", 4 * GIB) < plan.most_decoded("model", 80 * GIB)
    assert plan.most_groups("none", GIB) == 1


def _budget(card: int, host: int = 64) -> Budget:
    return Budget(lambda *_: _flux(), card * GIB, host * GIB, quantizations=("int8", "nf4"))


@pytest.mark.parametrize(
    ("card", "host", "way"),
    [(80, 64, "none"), (32, 64, "model"), (32, 26, "disk"), (8, 64, "group")],
)
def test_auto_begins_with_the_fastest_way_that_fits(card: int, host: int, way: str) -> None:
    assert _budget(card, host).choose_way("auto") == way


@pytest.mark.parametrize(
    ("card", "remedy"), [(24, "--quantize int8"), (16, "--quantize int8 --offload model")]
)
def test_what_cannot_fit_is_refused_with_the_settings_that_do(card: int, remedy: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"decoding would take 33.5 GiB of .*This fits: {remedy}$"
    ):
        _budget(card).choose_way("none")


def test_a_model_that_nothing_makes_fit_says_so() -> None:
    with pytest.raises(ConfigError, match="No setting makes it fit"):
        _budget(2).choose_way("auto")


def test_a_model_of_unknown_size_is_tried() -> None:
    budget = Budget(lambda *_: None, GIB, GIB)
    assert (budget.choose_way("auto"), budget.choose_way("model")) == ("none", "model")
    assert budget.most_groups(1024, 1024, 2) is None
    unknown = Footprint({}, 0)
    made = resolve_generation(GenerationConfig(device="cpu"))
    assert plan_memory(find_model_files("miniature", None), unknown, made) is None
