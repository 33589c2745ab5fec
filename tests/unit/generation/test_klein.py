"""FLUX.2 [klein] behind the same interface: our loop is the stock pipeline at both ends of beta."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from torch import Tensor

from coupled_core.config import GenerationConfig
from coupled_core.coupling.cost_model import predict_step_flops
from coupled_core.generation.batch import DenoisedGroup, Group
from coupled_core.generation.decoding import decode_pixels
from coupled_core.generation.families.family import compute_noise_levels
from coupled_core.generation.families.flux2 import Flux2Klein
from coupled_core.generation.footprint import geometry_of
from coupled_core.generation.generator import load_generator
from coupled_core.generation.prompt_encoder import PromptEncoder
from coupled_core.generation.provenance import resolve
from coupled_core.generation.sampler import SamplerSettings, sample_groups
from coupled_core.records import CouplingMode, GeneratedSample
from coupled_core.schedules.schedule import RegionSettings
from tests.unit.generation.tiny_klein import build_klein
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample

NUM_TOKENS, SCALE = 96, 4.0
BETAS = [0.0, 0.3, 0.8, 1.0]


@pytest.fixture(scope="module", params=[True, False], ids=["distilled", "base"])
def family(request: pytest.FixtureRequest) -> Flux2Klein:
    """In float64; the base model takes classifier-free guidance."""
    pipeline = build_klein(is_distilled=request.param)
    pipeline.to(torch.float64)
    return Flux2Klein(pipeline)


def build_group(family: Flux2Klein, num_images: int = 2) -> Group:
    sample, encoder = build_sample(0, num_images), PromptEncoder(family, NUM_TOKENS)
    background, *entities, empty = encoder.encode(
        [sample.split.background_prompt, *sample.group.prompts, ""]
    )
    noise = family.draw_noise(sample.seed, SIZE_PX, SIZE_PX)
    return Group(noise, background, tuple(entities), empty)


@torch.no_grad()
def run(
    family: Flux2Klein,
    group: Group,
    betas: Sequence[float],
    mode: CouplingMode = "log_bias",
    *,
    share: bool = True,
    region: RegionSettings | None = None,
) -> DenoisedGroup:
    frame = family.find_frame(SIZE_PX, SIZE_PX)
    (made,) = sample_groups(
        family,
        [group],
        compute_noise_levels(family, family.pipeline.scheduler, len(betas), len(frame.ids)),
        torch.tensor(betas, dtype=torch.float64),
        frame,
        SamplerSettings(mode, SCALE, share, region),
    )
    return made


def run_pipeline(pipeline: Flux2KleinPipeline, prompts: list[str], **options: object) -> object:
    return pipeline(
        prompt=prompts,
        height=SIZE_PX,
        width=SIZE_PX,
        num_inference_steps=len(BETAS),
        guidance_scale=SCALE,
        max_sequence_length=NUM_TOKENS,
        **options,
    ).images


def relative_error(ours: Tensor, stock: Tensor) -> float:
    return float((ours - stock).abs().max() / stock.abs().max())


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_run_at_one_end_of_beta_is_the_stock_pipeline(family: Flux2Klein, beta: float) -> None:
    sample = build_sample(0, 2)
    prompts = list(sample.group.prompts) if beta else [sample.split.background_prompt] * 2
    noise = torch.randn(
        1, family.num_channels, 8, 8, generator=torch.Generator("cpu").manual_seed(sample.seed)
    )
    latents = noise.repeat(2, 1, 1, 1)
    stock = run_pipeline(family.pipeline, prompts, latents=latents, output_type="latent")
    for share in (True, False):
        images = run(family, build_group(family), [beta] * len(BETAS), share=share).images
        ours = family.unpack(images, SIZE_PX, SIZE_PX)
        error = relative_error(ours, stock)
        print(f"{family.guidance}, beta {beta}, share {share}: {error:.1e}")
        assert error < 1e-5


def test_sharing_the_prefix_and_dropping_the_background_change_nothing(family: Flux2Klein) -> None:
    group = build_group(family, 3)
    shared, unshared = (run(family, group, BETAS, share=share).images for share in (True, False))
    assert relative_error(shared, unshared) < 1e-10
    assert relative_error(shared[1], shared[0]) > 1e-2


def test_guidance_has_an_effect_on_the_base_model_alone(family: Flux2Klein) -> None:
    group = build_group(family)
    unguided = Group(group.noise, group.background, group.entities)
    error = relative_error(*(run(family, each, BETAS).images for each in (group, unguided)))
    assert error > 1e-3 if family.guidance == "classifier-free" else error == 0.0


def test_outside_the_region_all_images_are_the_background_bit_for_bit(family: Flux2Klein) -> None:
    region = RegionSettings(size=0.1, margin=0.0, feather=0.1, read_until=0.99)
    made = run(family, build_group(family, 3), [1.0] * 4, "region", region=region)
    assert made.background is not None and made.weights is not None
    outside = made.weights[0] == 0
    assert 0.3 < outside.float().mean() < 1.0
    assert torch.equal(made.images[:, outside], made.background[:, outside].expand(3, -1, -1))
    assert (made.images[1] - made.images[0])[~outside].abs().max() > 1e-3


def test_a_region_of_the_whole_image_is_the_stock_model(family: Flux2Klein) -> None:
    group, region = build_group(family), RegionSettings(size=1.0, read_until=0.99)
    ours = run(family, group, [1.0] * 4, "region", region=region)
    assert relative_error(ours.images, run(family, group, [1.0] * 4).images) < 1e-10


def test_key_scale_runs_and_differs(family: Flux2Klein) -> None:
    group = build_group(family)
    scaled, biased = (run(family, group, BETAS, mode).images for mode in ("key_scale", "log_bias"))
    assert scaled.isfinite().all()
    assert relative_error(scaled, biased) > 1e-3


def test_decoding_is_that_of_the_pipeline() -> None:
    pipeline = build_klein()
    family, (prompt, _) = Flux2Klein(pipeline), build_sample(0, 2).group.prompts
    seeded = torch.Generator("cpu").manual_seed(0)
    (stock,) = run_pipeline(pipeline, [prompt], generator=seeded, output_type="np")
    images = run(family, build_group(family), [1.0] * len(BETAS)).images
    ours = decode_pixels(family, images[:1], SIZE_PX, SIZE_PX)[0]
    assert ours is not None
    assert np.abs(ours - 255 * stock).max() < 0.01


@pytest.mark.parametrize("mode", ["region", "log_bias"])
@pytest.mark.parametrize("is_distilled", [True, False])
def test_a_saved_folder_generates_with_the_defaults_of_its_kind(
    tmp_path: Path, mode: CouplingMode, is_distilled: bool
) -> None:
    build_klein(is_distilled=is_distilled).save_pretrained(tmp_path)
    config = GenerationConfig(base_model=str(tmp_path), device="cpu", coupling_mode=mode)
    provenance = resolve(config).provenance
    expected = (4, 0.0) if is_distilled else (50, 4.0)
    assert (provenance.num_inference_steps, provenance.guidance_scale) == expected
    assert provenance.license == "unknown"
    few = config.model_copy(update={"num_inference_steps": 4, "max_sequence_length": NUM_TOKENS})
    (made,) = load_generator(few).generate([build_sample(0, 2)])
    assert isinstance(made, GeneratedSample), made
    assert made.images[0].shape == (SIZE_PX, SIZE_PX, 3)
    assert (made.images[0] != made.images[1]).any()


def test_what_a_klein_of_published_size_takes_is_known_from_its_configs_alone(
    tmp_path: Path,
) -> None:
    """Geometry as published; its tokenizer is the tiny one's."""
    build_klein().save_pretrained(tmp_path)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    published = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24}
    _change(tmp_path / "transformer/config.json", **published, attention_head_dim=128)
    _change(tmp_path / "vae/config.json", block_out_channels=[128, 256, 512, 512])
    _change(tmp_path / "vae/config.json", sample_size=1024)
    files = resolve(GenerationConfig(base_model=str(tmp_path), device="cpu")).files
    geometry = geometry_of(files, files.size_px, files.size_px, files.max_sequence_length)
    assert (geometry.width, geometry.num_image_tokens) == (3072, 4096)
    assert (geometry.num_double_blocks, geometry.num_single_blocks) == (5, 20)
    # 25 blocks: 26 d^2 for each of 4608 tokens, 4 d for each pair of them.
    expected = 25 * (26 * 3072**2 * 4608 + 4 * 3072 * 4608**2)
    assert predict_step_flops(geometry, "stock") == expected


def _change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
