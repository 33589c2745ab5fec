from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from coupled_core.config import GenerationConfig
from coupled_core.errors import ScheduleError
from coupled_core.generation.generator import load_generator
from coupled_core.records import CouplingMode, GeneratedSample
from coupled_core.research.methods.method import Method, MethodOutput
from coupled_core.schedules.schedule import RegionSettings, Schedule
from coupled_core.schedules.schedule_file import save_schedule
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    NUM_STEPS,
    default_knobs,
    largest_difference,
    run_sample,
)

MODES: tuple[CouplingMode, ...] = get_args(CouplingMode)


def build_config(folder: Path, **changes: object) -> GenerationConfig:
    values = {"base_model": str(folder), "device": "cpu", "num_inference_steps": NUM_STEPS}
    return GenerationConfig.model_validate({**values, **changes})


def generate(config: GenerationConfig, seed_index: int, num_images: int) -> np.ndarray:
    (outcome,) = load_generator(config).generate([build_sample(seed_index, num_images)])
    assert isinstance(outcome, GeneratedSample)
    return np.stack(outcome.images).astype(int)


def test_coupled_is_what_a_build_makes(
    methods: Mapping[str, Method], method_model_folder: Path
) -> None:
    built = generate(build_config(method_model_folder), 2, 3)
    assert largest_difference(run_sample(methods["coupled"], build_sample(2, 3)), built) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_with_knobs_is_a_build_with_that_sine_schedule(
    methods: Mapping[str, Method], method_model_folder: Path, tmp_path: Path, mode: CouplingMode
) -> None:
    region = RegionSettings(size=0.1) if mode == "region" else None
    parameters = {"center": 0.3, "width": 0.4}
    sine = Schedule("sine", parameters, mode, "tiny", None, False, "", region=region)
    save_schedule(sine, tmp_path / "sine.json")
    built = generate(build_config(method_model_folder, schedule=str(tmp_path / "sine.json")), 2, 2)
    method = methods[f"coupled-{mode.replace('_', '-')}"]
    size = {"size": 0.1} if mode == "region" else {}
    ours = run_sample(method, build_sample(2), **parameters, **size)
    assert largest_difference(ours, built) == 0


def test_a_prefix_of_the_log_bias_mode_is_paid_once_a_group(methods: Mapping[str, Method]) -> None:
    samples = [build_sample(0, 2), build_sample(1, 3), build_sample(2, 2)]
    late = {"center": 0.6, "width": 0.01}
    shared = methods["coupled-log-bias"].generate(samples, late)
    unshared = methods["coupled-key-scale"].generate(samples, late)
    assert all(isinstance(one, MethodOutput) for one in [*shared, *unshared])
    costs = [one.model_evaluations for one in shared]
    num_prefix = 2 * NUM_STEPS - costs[0]
    assert num_prefix > 0
    assert costs == [size * NUM_STEPS - (size - 1) * num_prefix for size in (2, 3, 2)]
    assert [one.model_evaluations for one in unshared] == [size * NUM_STEPS for size in (2, 3, 2)]


def test_the_region_mode_pays_for_the_tokens_it_computes(methods: Mapping[str, Method]) -> None:
    method = methods["coupled-region"]
    small, large = (
        method.generate([build_sample(0)], {**default_knobs(method.knobs), "size": size})[0]
        for size in (0.02, 0.25)
    )
    assert isinstance(small, MethodOutput)
    assert isinstance(large, MethodOutput)
    assert NUM_STEPS < small.model_evaluations < large.model_evaluations < 3 * NUM_STEPS


def test_knobs_that_make_no_schedule_are_refused(methods: Mapping[str, Method]) -> None:
    with pytest.raises(ScheduleError, match="width must be above 0"):
        methods["coupled-log-bias"].generate([build_sample(0)], {"center": 0.1, "width": 0.0})


def test_the_published_form_scales_keys_and_reads_the_entity_alone(
    methods: Mapping[str, Method], method_model_folder: Path, tmp_path: Path
) -> None:
    parameters = {"center": 0.3, "width": 0.4}
    sine = Schedule("sine", parameters, "key_scale", "tiny", None, False, "")
    save_schedule(sine, tmp_path / "sine.json")
    built = [
        generate(
            build_config(
                method_model_folder, schedule=str(tmp_path / "sine.json"), entity_text=text
            ),
            2,
            2,
        )
        for text in ("entity_prompt", "full_prompt")
    ]
    ours = run_sample(methods["published-form"], build_sample(2), **parameters)
    assert [largest_difference(ours, other) == 0 for other in built] == [True, False]
