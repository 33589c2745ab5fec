from collections.abc import Mapping
from pathlib import Path

import pytest

from coupled_core.research.methods.attention_control import list_blocks
from coupled_core.research.methods.controls import denoise_singly
from coupled_core.research.methods.method import Method
from coupled_core.research.methods.stock import StockMethod, StockModel
from coupled_core.research.methods.vitality import (
    SHIPPED_FOLDER,
    bypassed,
    find_vital_layers,
    load_vital_layers,
    main,
    measure_vitality,
)
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    largest_difference,
    run_sample,
    with_one_prompt,
)


def test_identical_prompts_give_the_identical_images_of_the_random_seed(
    methods: Mapping[str, Method],
) -> None:
    sample = with_one_prompt(3)
    images = run_sample(methods["stable-flow"], sample, num_layers=4, stop=1.0)
    assert largest_difference(images, images[:1]) <= 1
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) <= 1


@pytest.mark.parametrize("knobs", [{"num_layers": 0, "stop": 1.0}, {"num_layers": 4, "stop": 0.0}])
def test_no_layers_or_no_steps_is_the_random_seed(
    methods: Mapping[str, Method], knobs: dict[str, float]
) -> None:
    sample = build_sample(1, 3)
    images = run_sample(methods["stable-flow"], sample, **knobs)
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) == 0


def test_a_bypassed_block_changes_the_images_and_comes_back(model: StockModel) -> None:
    method = StockMethod("random-seed", model, denoise_singly)
    before = run_sample(method, build_sample(0))
    with bypassed(model.transformer, "transformer_blocks.0"):
        without = run_sample(method, build_sample(0))
    assert largest_difference(before, without) > 1
    assert largest_difference(before, run_sample(method, build_sample(0))) == 0


def test_a_layer_that_does_nothing_has_no_vitality(model: StockModel) -> None:
    output = model.transformer.single_transformer_blocks[1].proj_out
    saved = [parameter.detach().clone() for parameter in output.parameters()]
    try:
        for parameter in output.parameters():
            parameter.data.zero_()
        vitality = measure_vitality(model, [build_sample(0), build_sample(1)])
    finally:
        for parameter, values in zip(output.parameters(), saved, strict=True):
            parameter.data.copy_(values)
    assert vitality["single_transformer_blocks.1"] == pytest.approx(0.0, abs=1e-6)
    assert all(value > 0.001 for block, value in vitality.items() if not block.endswith("s.1"))


def test_a_geometry_without_a_file_is_measured_on_loading(model: StockModel) -> None:
    layers = find_vital_layers(model)
    assert sorted(layers.ranked) == sorted(list_blocks(model.transformer))
    values = [layers.vitality[block] for block in layers.ranked]
    assert values == sorted(values, reverse=True)
    assert 0 < layers.num_vital < len(layers.ranked)


@pytest.mark.parametrize("path", sorted(SHIPPED_FOLDER.glob("*-vital-layers.json")), ids=str)
def test_shipped_layers_exist_in_their_geometry(path: Path) -> None:
    layers = load_vital_layers(path)
    blocks = {f"transformer_blocks.{i}" for i in range(layers.num_double_blocks)}
    blocks |= {f"single_transformer_blocks.{i}" for i in range(layers.num_single_blocks)}
    assert len(set(layers.ranked)) == len(layers.ranked)
    assert set(layers.ranked) <= blocks
    assert 0 < layers.num_vital <= len(layers.ranked)


def test_the_program_writes_the_file_that_is_read(
    method_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.json"
    arguments = ["--base-model", str(method_model_folder), "--device", "cpu"]
    main([*arguments, "--num-groups", "1", "--output", str(path)])
    layers = load_vital_layers(path)
    assert f"{layers.num_vital} vital layers" in capsys.readouterr().out
    assert len(layers.ranked) == 4
