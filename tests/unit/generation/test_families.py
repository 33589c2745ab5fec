"""Families behind one interface: our loop is the stock pipeline at both ends of beta."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.flux2.pipeline_flux2 import format_input
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from coupled_core.config import GenerationConfig
from coupled_core.coupling.cost_model import predict_step_flops
from coupled_core.generation.batch import DenoisedGroup, Group
from coupled_core.generation.decoding import decode_pixels
from coupled_core.generation.families.family import Family, compute_noise_levels, open_family
from coupled_core.generation.families.spec import FLUX_2_DEV
from coupled_core.generation.footprint import geometry_of
from coupled_core.generation.generator import load_generator
from coupled_core.generation.prompt_encoder import PromptEncoder
from coupled_core.generation.provenance import resolve
from coupled_core.generation.sampler import SamplerSettings, sample_groups
from coupled_core.generation.text_readers import make_text_reader
from coupled_core.records import CouplingMode, GeneratedSample
from coupled_core.schedules.schedule import RegionSettings
from tests.unit.generation.tiny_flux2_dev import build_flux2_dev
from tests.unit.generation.tiny_klein import build_klein
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample
from tests.unit.generation.tiny_qwen import build_qwen

NUM_TOKENS, SCALE = 256, 4.0
BETAS = [0.0, 0.3, 0.8, 1.0]


BUILDERS: Mapping[str, Callable[[], DiffusionPipeline]] = {
    "klein": build_klein,
    "klein-base": lambda: build_klein(is_distilled=False),
    "flux2-dev": build_flux2_dev,
    "qwen": build_qwen,
}
DEFAULTS = {"klein": (4, 0.0), "klein-base": (50, 4.0), "flux2-dev": (50, 4.0), "qwen": (50, 4.0)}
"""Steps and guidance scale."""


@pytest.fixture(scope="module", params=BUILDERS)
def family(request: pytest.FixtureRequest) -> Family:
    """In float64; [klein] base and Qwen-Image take classifier-free guidance."""
    pipeline = BUILDERS[request.param]()
    pipeline.to(torch.float64)
    return open_family(pipeline)


def build_group(family: Family, num_images: int = 2) -> Group:
    sample, encoder = build_sample(0, num_images), PromptEncoder(family, NUM_TOKENS)
    background, *entities, empty = encoder.encode(
        [sample.split.background_prompt, *sample.group.prompts, family.empty_prompt]
    )
    noise = family.draw_noise(sample.seed, SIZE_PX, SIZE_PX)
    return Group(noise, background, tuple(entities), empty)


def run(
    family: Family,
    group: Group,
    betas: Sequence[float],
    mode: CouplingMode = "log_bias",
    *,
    share: bool = True,
    region: RegionSettings | None = None,
) -> DenoisedGroup:
    (made,) = run_groups(family, [group], betas, mode, share=share, region=region)
    return made


@torch.no_grad()
def run_groups(
    family: Family,
    groups: Sequence[Group],
    betas: Sequence[float],
    mode: CouplingMode = "log_bias",
    *,
    share: bool = True,
    region: RegionSettings | None = None,
) -> list[DenoisedGroup]:
    frame = family.find_frame(SIZE_PX, SIZE_PX)
    return sample_groups(
        family,
        groups,
        compute_noise_levels(family, family.pipeline.scheduler, len(betas), len(frame.ids)),
        torch.tensor(betas, dtype=torch.float64),
        frame,
        SamplerSettings(mode, SCALE, share, region),
    )


def run_pipeline(pipeline: DiffusionPipeline, prompts: list[str], **options: object) -> object:
    guidance: dict[str, object] = {"guidance_scale": SCALE}
    if is_qwen(pipeline):
        guidance = {"true_cfg_scale": SCALE, "negative_prompt": [" "] * len(prompts)}
    return pipeline(
        prompt=prompts,
        height=SIZE_PX,
        width=SIZE_PX,
        num_inference_steps=len(BETAS),
        max_sequence_length=NUM_TOKENS,
        **guidance,
        **options,
    ).images


def is_qwen(pipeline: DiffusionPipeline) -> bool:
    return type(pipeline).__name__.startswith("Qwen")


def relative_error(ours: Tensor, stock: Tensor) -> float:
    return float((ours - stock).abs().max() / stock.abs().max())


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_run_at_one_end_of_beta_is_the_stock_pipeline(family: Family, beta: float) -> None:
    sample = build_sample(0, 2)
    prompts = list(sample.group.prompts) if beta else [sample.split.background_prompt] * 2
    packed = family.draw_noise(sample.seed, SIZE_PX, SIZE_PX)
    rows = packed.expand(2, -1, -1)
    # FLUX.2's pipelines take patches, channels first; that of [klein] returns what is decoded.
    latents = rows if is_qwen(family.pipeline) else rows.transpose(1, 2).unflatten(2, (8, 8))
    returns_packed = type(family.pipeline).__name__ != "Flux2KleinPipeline"
    stock = run_pipeline(family.pipeline, prompts, latents=latents, output_type="latent")
    for share in (True, False):
        images = run(family, build_group(family), [beta] * len(BETAS), share=share).images
        ours = images if returns_packed else family.unpack(images, SIZE_PX, SIZE_PX)
        error = relative_error(ours, stock)
        print(f"{family.spec.name}, guidance {family.guidance}, beta {beta}, {share}: {error:.1e}")
        assert error < 1e-5


def test_sharing_the_prefix_and_dropping_the_background_change_nothing(family: Family) -> None:
    group = build_group(family, 3)
    shared, unshared = (run(family, group, BETAS, share=share).images for share in (True, False))
    assert relative_error(shared, unshared) < 1e-10
    assert relative_error(shared[1], shared[0]) > 1e-2


def test_groups_whose_texts_differ_in_length_are_together_what_they_are_alone(
    family: Family,
) -> None:
    longer = PromptEncoder(family, NUM_TOKENS).encode(
        ["A meadow by a river under a cloudy evening sky", "x", "a blue car in it", "a red kite"]
    )
    first = build_group(family)
    groups = [
        first,
        Group(family.draw_noise(7, SIZE_PX, SIZE_PX), longer[0], tuple(longer[1:]), first.empty),
    ]
    together = run_groups(family, groups, BETAS)
    for group, made in zip(groups, together, strict=True):
        assert relative_error(made.images, run(family, group, BETAS).images) < 1e-10


def test_classifier_free_guidance_has_an_effect_where_a_model_takes_it(family: Family) -> None:
    group = build_group(family)
    unguided = Group(group.noise, group.background, group.entities)
    error = relative_error(*(run(family, each, BETAS).images for each in (group, unguided)))
    assert error > 1e-3 if family.guidance == "classifier-free" else error == 0.0


def test_outside_the_region_all_images_are_the_background_bit_for_bit(family: Family) -> None:
    region = RegionSettings(size=0.1, margin=0.0, feather=0.1, read_until=0.99)
    made = run(family, build_group(family, 3), [1.0] * 4, "region", region=region)
    assert made.background is not None and made.weights is not None
    outside = made.weights[0] == 0
    assert 0.3 < outside.float().mean() < 1.0
    assert torch.equal(made.images[:, outside], made.background[:, outside].expand(3, -1, -1))
    assert (made.images[1] - made.images[0])[~outside].abs().max() > 1e-3


def test_a_region_of_the_whole_image_is_the_stock_model(family: Family) -> None:
    group, region = build_group(family), RegionSettings(size=1.0, read_until=0.99)
    ours = run(family, group, [1.0] * 4, "region", region=region)
    assert relative_error(ours.images, run(family, group, [1.0] * 4).images) < 1e-10


def test_key_scale_runs_and_differs(family: Family) -> None:
    group = build_group(family)
    scaled, biased = (run(family, group, BETAS, mode).images for mode in ("key_scale", "log_bias"))
    assert scaled.isfinite().all()
    assert relative_error(scaled, biased) > 1e-3


@pytest.mark.parametrize("name", BUILDERS)
def test_decoding_is_that_of_the_pipeline(name: str) -> None:
    pipeline = BUILDERS[name]()
    family, (prompt, _) = open_family(pipeline), build_sample(0, 2).group.prompts
    seeded = torch.Generator("cpu").manual_seed(0)
    (stock,) = run_pipeline(pipeline, [prompt], generator=seeded, output_type="np")
    images = run(family, build_group(family), [1.0] * len(BETAS)).images
    ours = decode_pixels(family, images[:1], SIZE_PX, SIZE_PX)[0]
    assert ours is not None
    assert np.abs(ours - 255 * stock).max() < 0.01


@pytest.mark.parametrize("mode", ["region", "log_bias"])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_saved_folder_generates_with_the_defaults_of_its_kind(
    tmp_path: Path, mode: CouplingMode, name: str
) -> None:
    BUILDERS[name]().save_pretrained(tmp_path)
    config = GenerationConfig(base_model=str(tmp_path), device="cpu", coupling_mode=mode)
    provenance = resolve(config).provenance
    assert (provenance.num_inference_steps, provenance.guidance_scale) == DEFAULTS[name]
    assert provenance.license == "unknown"
    few = config.model_copy(
        update={
            "num_inference_steps": 4,
            "max_sequence_length": NUM_TOKENS,
            "width": SIZE_PX,
            "height": SIZE_PX,
        }
    )
    (made,) = load_generator(few).generate([build_sample(0, 2)])
    assert isinstance(made, GeneratedSample), made
    assert made.images[0].shape == (SIZE_PX, SIZE_PX, 3)
    assert (made.images[0] != made.images[1]).any()


def test_the_begin_mark_of_a_conversation_is_counted_once() -> None:
    pipeline, (spec,) = build_flux2_dev(), FLUX_2_DEV.tokenizers
    tokenizer = spec.find_in(pipeline)
    # As in the published one; its template writes the mark, too.
    mark = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[mark]
    )
    text = "a red kite"
    reader = make_text_reader(tokenizer, spec, "dev", NUM_TOKENS)
    conversations = format_input([text])
    (read,) = pipeline.tokenizer.apply_chat_template(
        conversations, tokenize=True, return_dict=True, add_generation_prompt=False
    ).input_ids
    assert reader.num_marks + len(reader.read([text])[0].tokens) == len(read)


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
