"""Sharing and dropping must change nothing but the cost; the ends must be the stock pipeline."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.generation.batch import Group
from coupled_core.generation.families.family import compute_noise_levels
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.generation.prompt_encoder import PromptEncoder
from coupled_core.generation.sampler import (
    SamplerSettings,
    choose_phases,
    sample_groups,
)
from coupled_core.records import CouplingMode
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample

NUM_TOKENS = 32
BETAS = [0.0, 0.0, 0.3, 0.8, 1.0, 1.0]


def build_groups(pipeline: FluxPipeline, sizes: Sequence[int], first: int = 0) -> list[Group]:
    encoder = PromptEncoder(Flux1(pipeline), NUM_TOKENS)
    groups = []
    for index, num_images in enumerate(sizes, start=first):
        sample = build_sample(index, num_images)
        background, *entities = encoder.encode(
            [sample.split.background_prompt, *sample.group.prompts]
        )
        noise = Flux1(pipeline).draw_noise(sample.seed, SIZE_PX, SIZE_PX)
        groups.append(Group(noise, background, tuple(entities)))
    return groups


def run(
    pipeline: FluxPipeline,
    groups: Sequence[Group],
    betas: Sequence[float] | Tensor,
    *,
    mode: CouplingMode = "log_bias",
    share: bool = True,
    guidance_scale: float | None = None,
    ablation: Ablation = THE_METHOD,
) -> list[Tensor]:
    family = Flux1(pipeline)
    frame = family.find_frame(SIZE_PX, SIZE_PX)
    weights = torch.as_tensor(betas, dtype=torch.float64)
    made = sample_groups(
        family,
        groups,
        compute_noise_levels(Flux1, pipeline.scheduler, len(betas), len(frame.ids)),
        weights,
        frame,
        SamplerSettings(mode, guidance_scale, share, ablation=ablation),
    )
    return [group.images for group in made]


def largest_difference(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """Relative to the largest value."""
    both = list(zip(left, right, strict=True))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in both)


@pytest.fixture
def exact_pipeline(pipeline: FluxPipeline) -> FluxPipeline:
    """In float64; the text encoders stay as they are."""
    pipeline.transformer.to(torch.float64)
    yield pipeline
    pipeline.transformer.to(torch.float32)


@torch.no_grad()
def test_sharing_the_prefix_and_dropping_the_background_change_nothing_in_float64(
    exact_pipeline: FluxPipeline,
) -> None:
    groups = build_groups(exact_pipeline, [2, 4, 3])
    shared = run(exact_pipeline, groups, BETAS)
    unshared = run(exact_pipeline, groups, BETAS, share=False)
    assert largest_difference(shared, unshared) < 1e-10


@torch.no_grad()
def test_sharing_changes_nothing_but_rounding_in_float32(pipeline: FluxPipeline) -> None:
    groups = build_groups(pipeline, [2, 3])
    shared, unshared = (run(pipeline, groups, BETAS, share=s) for s in (True, False))
    assert largest_difference(shared, unshared) < 1e-4


@torch.no_grad()
def test_a_group_alone_and_in_a_batch_of_8_gives_the_same_latents(pipeline: FluxPipeline) -> None:
    groups = build_groups(pipeline, [2, 3, 2, 4, 2, 2, 3, 2])
    together = run(pipeline, groups, BETAS)
    alone = [run(pipeline, [group], BETAS)[0] for group in groups]
    difference = largest_difference(together, alone)
    print(f"batch of 8 against alone, float32: {difference:.1e}")
    assert difference < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("text", ["background", "entity"])
def test_a_run_at_one_end_of_beta_is_the_stock_pipeline(pipeline: FluxPipeline, text: str) -> None:
    (group,) = build_groups(pipeline, [2])
    sample = build_sample(0, 2)
    at_end = 1.0 if text == "entity" else 0.0
    prompts = (
        list(sample.group.prompts) if text == "entity" else [sample.split.background_prompt] * 2
    )
    (ours,) = run(pipeline, [group], [at_end] * 5)
    stock = pipeline(
        prompts,
        height=SIZE_PX,
        width=SIZE_PX,
        num_inference_steps=5,
        latents=group.noise.expand(2, -1, -1).clone(),
        max_sequence_length=NUM_TOKENS,
        output_type="latent",
    ).images
    assert largest_difference([ours], [stock]) < 1e-5


@torch.no_grad()
def test_a_model_with_guidance_embedding_is_guided_as_in_the_stock_pipeline(
    guided_folder: str,
) -> None:
    pipeline = FluxPipeline.from_pretrained(guided_folder)
    pipeline.set_progress_bar_config(disable=True)
    (group,) = build_groups(pipeline, [2])
    (ours,) = run(pipeline, [group], [1.0] * 4, guidance_scale=3.5)
    (unguided,) = run(pipeline, [group], [1.0] * 4, guidance_scale=1.0)
    stock = pipeline(
        list(build_sample(0, 2).group.prompts),
        height=SIZE_PX,
        width=SIZE_PX,
        num_inference_steps=4,
        guidance_scale=3.5,
        latents=group.noise.expand(2, -1, -1).clone(),
        max_sequence_length=NUM_TOKENS,
        output_type="latent",
    ).images
    assert largest_difference([ours], [stock]) < 1e-5
    assert largest_difference([unguided], [stock]) > 1e-3


@torch.no_grad()
def test_images_of_a_group_are_one_image_while_beta_is_0_and_part_afterwards(
    pipeline: FluxPipeline,
) -> None:
    groups = build_groups(pipeline, [3])
    (same,) = run(pipeline, groups, [0.0] * 4, share=False)
    (parted,) = run(pipeline, groups, [0.0, 0.0, 0.5, 1.0])
    assert largest_difference([same[1], same[2]], [same[0], same[0]]) < 1e-5
    assert largest_difference([parted[1]], [parted[0]]) > 1e-2


def test_key_scale_shares_and_drops_nothing() -> None:
    betas = torch.tensor(BETAS)
    shared = choose_phases(betas, SamplerSettings(mode="log_bias", guidance_scale=None))
    scaled = choose_phases(betas, SamplerSettings(mode="key_scale", guidance_scale=None))
    assert shared == ["prefix"] * 2 + ["middle"] * 2 + ["suffix"] * 2
    assert scaled == ["middle"] * 6


@torch.no_grad()
def test_key_scale_runs_and_differs_from_log_bias(pipeline: FluxPipeline) -> None:
    groups = build_groups(pipeline, [2])
    scaled, biased = (run(pipeline, groups, BETAS, mode=m) for m in ("key_scale", "log_bias"))
    assert scaled[0].isfinite().all()
    assert largest_difference(scaled, biased) > 1e-3


def test_the_latents_are_differentiable_in_beta(exact_pipeline: FluxPipeline) -> None:
    groups = build_groups(exact_pipeline, [2])
    exact_pipeline.transformer.requires_grad_(False)

    def objective(value: float, *, gradient: bool) -> Tensor:
        betas = torch.tensor([0.0, value, 1.0], dtype=torch.float64, requires_grad=gradient)
        (latents,) = run(exact_pipeline, groups, betas)
        total = latents.square().sum()
        return torch.autograd.grad(total, betas)[0][1] if gradient else total

    slope = (objective(0.4001, gradient=False) - objective(0.3999, gradient=False)) / 2e-4
    assert float(objective(0.4, gradient=True)) == pytest.approx(float(slope), rel=1e-2)


@torch.no_grad()
def test_stock_processors_are_back_when_a_step_fails(pipeline: FluxPipeline) -> None:
    (group,) = build_groups(pipeline, [2])
    before = pipeline.transformer.attn_processors
    wrong = replace(group.background, pooled_prompt_embeds=torch.zeros(3))
    broken = replace(group, background=wrong)
    with pytest.raises(RuntimeError):
        run(pipeline, [broken], [0.5, 1.0])
    after = pipeline.transformer.attn_processors
    assert all(after[name] is processor for name, processor in before.items())


@torch.no_grad()
def test_pooled_vectors_of_the_entity_stream_make_images_differ_at_beta_0(
    pipeline: FluxPipeline,
) -> None:
    groups = build_groups(pipeline, [2])
    (images,) = run(pipeline, groups, [0.0] * 4, ablation=Ablation(pooled_of_entity=True))
    assert (images[0] - images[1]).abs().max() > 1e-3
    (shared,) = run(pipeline, groups, [0.0] * 4)
    assert torch.equal(shared[0], shared[1])


@torch.no_grad()
def test_block_types_with_schedules_of_their_own(pipeline: FluxPipeline) -> None:
    groups = build_groups(pipeline, [2])
    one = torch.tensor([0.0, 0.3, 1.0, 1.0], dtype=torch.float64)
    later = torch.tensor([0.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    settings = SamplerSettings("log_bias", None)
    assert choose_phases(torch.stack([one, later], 1), settings) == [
        "prefix", "middle", "middle", "suffix",
    ]  # fmt: skip
    both, alike = run(pipeline, groups, one), run(pipeline, groups, torch.stack([one, one], 1))
    assert torch.equal(both[0], alike[0])
    single_later = run(pipeline, groups, torch.stack([one, later], 1))
    double_later = run(pipeline, groups, torch.stack([later, one], 1))
    assert largest_difference(single_later, both) > 1e-3
    assert largest_difference(single_later, double_later) > 1e-3


@torch.no_grad()
def test_a_pull_of_full_strength_throughout_leaves_a_group_one_image(
    pipeline: FluxPipeline,
) -> None:
    groups = build_groups(pipeline, [2, 3])
    apart, whole, early = (
        run(pipeline, groups, BETAS, ablation=Ablation(pull=1.0, pull_until=until))
        for until in (0.0, 1.0, 0.7)
    )
    assert all((images == images[:1]).all() for images in whole)
    assert all((images[1] - images[0]).abs().max() > 1e-2 for images in (*apart, *early))
    assert largest_difference(apart, run(pipeline, groups, BETAS)) == 0
