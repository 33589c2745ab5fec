"""Variants of a schedule: what they change, and what they leave alone."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from coupled_core.generation.model_files import KNOWN_MODELS
from coupled_core.research.comparison.variants import (
    knob_of_ours,
    list_variants,
    measure_rise,
    resize_region,
    shift_schedule,
)
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import load_shipped_schedule

MINIATURE = KNOWN_MODELS["miniature"]
SINE = Schedule(
    family="sine",
    parameters={"center": 0.2, "width": 0.1},
    mode="log_bias",
    base_model="miniature",
    base_model_revision=None,
    optimised=True,
    note="for a test",
)
KNOTS = replace(
    SINE, family="isotonic", parameters={"times": (0.1, 0.2, 0.3), "values": (0.0, 0.5, 1.0)}
)
TIMES = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)


@pytest.mark.parametrize("schedule", [SINE, KNOTS])
def test_a_shifted_schedule_does_the_same_later(schedule: Schedule) -> None:
    later = shift_schedule(schedule, 0.1)
    assert torch.allclose(later.beta(1 - TIMES[10:]), schedule.beta(1 - TIMES[:-10]), atol=1e-12)


def test_the_rise_of_a_sine_is_its_centre_and_width() -> None:
    assert measure_rise(SINE) == (pytest.approx(0.2, abs=0.002), pytest.approx(0.1, abs=0.01))


def test_there_are_variants_of_every_subject_the_sampler_allows() -> None:
    subjects = {variant.subject for variant in list_variants(SINE, MINIATURE)}
    assert subjects == {
        "family", "sine", "mode", "prefix", "entity stream", "pooled vector",
        "background and entity text", "single-stream blocks", "block types", "latent pull",
    }  # fmt: skip


def test_time_is_taken_apart_in_log_bias_where_ours_couples_over_space() -> None:
    ours = load_shipped_schedule("miniature", "region")
    variants = list_variants(ours, MINIATURE)
    in_time = [v for v in variants if v.subject.endswith(", in log_bias")]
    assert {v.schedule.mode for v in in_time} == {"log_bias"}
    assert "mode: log_bias" in {v.name for v in variants}
    sizes = [v.schedule.region for v in variants if v.subject == "region size"]
    assert len({region.size for region in sizes if region}) == len(sizes) > 3


def test_the_curve_of_ours_follows_the_region_where_there_is_one_and_else_time() -> None:
    assert knob_of_ours(SINE).name == "shift"
    region = load_shipped_schedule("miniature", "region")
    assert knob_of_ours(region).name == "size"
    assert resize_region(region, size=0.3).region != region.region


def test_families_are_compared_at_one_centre_and_slope() -> None:
    variants = [v.schedule for v in list_variants(SINE, MINIATURE) if v.subject == "family"]
    assert [schedule.family for schedule in variants] == ["step", "arctan", "sine"]
    near = 1 - torch.tensor([0.199, 0.201], dtype=torch.float64)
    rises = [float(schedule.beta(near).diff()) for schedule in variants[1:]]
    assert rises[0] == pytest.approx(rises[1], rel=0.1)


def test_a_prefix_holds_beta_at_zero_and_then_lets_it_be() -> None:
    variants = [v.schedule for v in list_variants(SINE, MINIATURE) if v.subject == "prefix"]
    held = variants[-1].beta(1 - TIMES)
    assert (held[TIMES < 0.19] == 0).all()
    assert torch.allclose(held[TIMES > 0.21], SINE.beta(1 - TIMES[TIMES > 0.21]), atol=0.01)


def test_no_two_variants_of_a_subject_are_called_the_same() -> None:
    names = sorted(variant.name for variant in list_variants(SINE, MINIATURE))
    assert all(first != second for first, second in pairwise(names))
