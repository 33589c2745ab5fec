"""Mode region: the background is the group's own row, exactly; the images are free elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor

from coupled_core.generation.batch import Group
from coupled_core.generation.families.family import compute_noise_levels
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.generation.known_models import KNOWN_MODELS
from coupled_core.generation.sampler import SamplerSettings, sample_groups
from coupled_core.records import CouplingMode
from coupled_core.schedules.schedule import RegionSettings
from tests.unit.generation.test_sampler import build_groups, largest_difference, run
from tests.unit.generation.tiny_pipeline import SIZE_PX

FREE = [1.0] * 6
SETTINGS = RegionSettings(size=0.1, margin=0.0, feather=0.1, read_until=0.8)


def run_region(
    pipeline: FluxPipeline,
    groups: Sequence[Group],
    betas: Sequence[float],
    region: RegionSettings = SETTINGS,
    steps: list[tuple[int, int]] | None = None,
) -> list[Tensor]:
    family = Flux1(pipeline)
    frame = family.find_frame(SIZE_PX, SIZE_PX)
    mode: CouplingMode = "region"
    made = sample_groups(
        family,
        groups,
        compute_noise_levels(Flux1, pipeline.scheduler, len(betas), len(frame.ids)),
        torch.tensor(betas, dtype=torch.float64),
        frame,
        SamplerSettings(mode=mode, guidance_scale=None, region=region),
        on_step=None if steps is None else lambda *step: steps.append(step),
    )
    return [group.images for group in made]


def background_of(pipeline: FluxPipeline, group: Group, num_steps: int) -> Tensor:
    (alone,) = run(pipeline, [replace(group, entities=group.entities[:1])], [0.0] * num_steps)
    return alone[0]


@torch.no_grad()
def test_outside_the_region_all_images_are_the_background_bit_for_bit(
    pipeline: FluxPipeline,
) -> None:
    (group,) = build_groups(pipeline, [3])
    (images,) = run_region(pipeline, [group], FREE)
    background = background_of(pipeline, group, len(FREE))
    shared = (images == images[:1]).all(dim=-1).all(dim=0)
    assert 0.3 < shared.float().mean() < 1.0
    assert (images[0] - background)[shared].abs().max() < 1e-5
    for i in (1, 2):
        assert (images[i] - images[0])[~shared].abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 2, 4])
@pytest.mark.parametrize("model", ["FLUX.1-schnell", "FLUX.2-klein-4B"])
def test_models_of_few_steps_stay_tied_to_the_background_at_every_step(
    pipeline: FluxPipeline, model: str, num_steps: int
) -> None:
    region = KNOWN_MODELS[f"black-forest-labs/{model}"].load_schedule("region").region
    assert region is not None
    (group,) = build_groups(pipeline, [2])
    (images,) = run_region(pipeline, [group], [1.0] * num_steps, region)
    background = background_of(pipeline, group, num_steps)
    free = (images[0] - background).abs().amax(dim=-1) > 1e-5
    assert torch.equal(images[0][~free], images[1][~free])
    assert 0.0 < free.float().mean() < 0.9


@torch.no_grad()
def test_a_region_of_the_whole_image_is_the_stock_pipeline(pipeline: FluxPipeline) -> None:
    groups = build_groups(pipeline, [2, 3])
    ours = run_region(pipeline, groups, FREE, replace(SETTINGS, size=1.0))
    assert largest_difference(ours, run(pipeline, groups, FREE)) < 1e-4


@torch.no_grad()
def test_while_beta_is_0_the_images_are_the_background(pipeline: FluxPipeline) -> None:
    (group,) = build_groups(pipeline, [2])
    (images,) = run_region(pipeline, [group], [0.0] * 4)
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], background_of(pipeline, group, 4))


@torch.no_grad()
def test_a_rising_beta_weighs_the_text_inside_the_region(pipeline: FluxPipeline) -> None:
    groups = build_groups(pipeline, [2])
    (weighed,), (free,) = (
        run_region(pipeline, groups, betas) for betas in ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], FREE)
    )
    assert weighed.isfinite().all()
    assert (weighed - free).abs().max() > 1e-3


@torch.no_grad()
def test_a_group_does_not_depend_on_the_others_and_every_step_is_reported(
    pipeline: FluxPipeline,
) -> None:
    groups = build_groups(pipeline, [2, 3])
    steps: list[tuple[int, int]] = []
    together = run_region(pipeline, groups, FREE, steps=steps)
    alone = [run_region(pipeline, [group], FREE)[0] for group in groups]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    assert steps == [(i + 1, 12) for i in range(12)]


@torch.no_grad()
def test_once_the_region_is_known_only_its_tokens_are_computed(pipeline: FluxPipeline) -> None:
    calls: list[tuple[int, int]] = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda _, __, kwargs: calls.append(tuple(kwargs["hidden_states"].shape[:2])),
        with_kwargs=True,
    )
    run_region(pipeline, build_groups(pipeline, [2]), FREE)
    hook.remove()
    num_tokens = len(Flux1(pipeline).find_frame(SIZE_PX, SIZE_PX).ids)
    backgrounds = [tokens for rows, tokens in calls if rows == 1]
    images = [tokens for rows, tokens in calls if rows == 2]
    assert backgrounds == [num_tokens] * len(FREE)
    assert images[0] == num_tokens
    assert images[-1] < 0.7 * num_tokens


def test_mode_region_without_settings_says_so(pipeline: FluxPipeline) -> None:
    with pytest.raises(ValueError, match="expects region settings"):
        run(pipeline, build_groups(pipeline, [2]), FREE, mode="region")
