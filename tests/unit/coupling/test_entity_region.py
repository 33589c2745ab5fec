import math

import pytest
import torch

from coupled_core.coupling.entity_region import choose_region, measure_crop, measure_evidence
from coupled_core.schedules.schedule import RegionSettings

GRID = (16, 12)
BARE = RegionSettings(size=0.05, margin=0.0, feather=0.0)


def evidence_at(*centres: tuple[int, int]) -> torch.Tensor:
    """One image a centre: a bump of evidence over a low, uneven floor."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in GRID), indexing="ij")
    floor = 0.1 * torch.rand(GRID, generator=torch.Generator().manual_seed(0))
    bumps = [torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4) for y, x in centres]
    return torch.stack([(floor + bump).ravel() for bump in bumps])


def test_the_region_lies_where_the_evidence_is() -> None:
    region = choose_region(evidence_at((4, 7)), GRID, BARE).reshape(GRID)
    ys, xs = region.nonzero().float().mean(dim=0)
    assert math.dist((ys, xs), (4, 7)) < 0.7
    assert int(region.sum()) == round(0.05 * 16 * 12)


def test_the_region_of_a_group_is_the_union_over_its_images() -> None:
    apart = [choose_region(evidence_at(centre), GRID, BARE) for centre in ((4, 3), (12, 8))]
    together = choose_region(evidence_at((4, 3), (12, 8)), GRID, BARE)
    assert torch.equal(together, torch.maximum(*apart))


def test_margin_and_feather_widen_the_region_by_shares_of_the_shorter_side() -> None:
    core = choose_region(evidence_at((8, 6)), GRID, BARE)
    rim = choose_region(evidence_at((8, 6)), GRID, RegionSettings(0.05, margin=2 / 12, feather=0.0))
    soft = choose_region(
        evidence_at((8, 6)), GRID, RegionSettings(0.05, margin=2 / 12, feather=2 / 12)
    )
    columns = (core.reshape(GRID)[8] == 1).sum(), (rim.reshape(GRID)[8] == 1).sum()
    assert int(columns[1] - columns[0]) == 4
    assert torch.all(rim >= core)
    assert torch.all(soft >= rim)
    edge = soft[(soft > 0) & (soft < 1)]
    assert len(edge) > 0
    assert torch.isclose(edge, torch.tensor(0.5)).any()  # one token out, half of the feather


def test_a_size_of_1_leaves_every_token_free() -> None:
    assert torch.equal(
        choose_region(evidence_at((1, 1)), GRID, RegionSettings(1.0)), torch.ones(192)
    )


def test_evidence_has_mean_1_whatever_the_scale_and_is_0_where_nothing_differs() -> None:
    background = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    images = torch.stack([background, background.clone(), background.clone()])
    images[1, 3] += 1.0
    images[2, 3] += 100.0
    evidence = measure_evidence(images, background)
    assert torch.equal(evidence[0], torch.zeros(20))
    assert evidence[1].mean() == pytest.approx(1.0)
    assert torch.allclose(evidence[1], evidence[2], atol=1e-4)
    assert int(evidence[1].argmax()) == 3


def test_crop_evidence_is_large_where_an_entity_goes_on_outside_its_region() -> None:
    grid = (32, 24)
    whole, cropped = torch.zeros(2, *grid)
    whole[12:20, 8:14] = 1.0
    cropped[12:30, 8:14] = 1.0
    weight = torch.zeros(grid)
    weight[10:22, 6:16] = 1.0
    both = torch.stack([whole, cropped]).flatten(1)
    within, beyond = measure_crop(both, weight.flatten(), grid).tolist()
    assert within < 0.1 < 2 * within + 0.1 < beyond < 1.0
    # The scale of the evidence says nothing.
    again = measure_crop(7.0 * both, weight.flatten(), grid).tolist()
    assert again == pytest.approx([within, beyond])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_anything_outside_or_inside_there_is_no_crop_evidence(value: float) -> None:
    evidence = torch.rand(2, 64, generator=torch.Generator().manual_seed(0))
    assert measure_crop(evidence, torch.full((64,), value), (8, 8)).tolist() == [0.0, 0.0]
