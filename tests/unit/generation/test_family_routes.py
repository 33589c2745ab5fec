"""LoRAs, single files and quantised weights of FLUX.2 and Qwen-Image, on tiny random models."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from coupled_core.config import GenerationConfig
from coupled_core.generation.generator import load_generator
from coupled_core.records import GeneratedSample
from tests.unit.generation.gguf_writer import write_gguf
from tests.unit.generation.tiny_flux2_dev import build_flux2_dev
from tests.unit.generation.tiny_klein import build_klein
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample
from tests.unit.generation.tiny_qwen import build_qwen

BUILDERS: Mapping[str, Callable[[], DiffusionPipeline]] = {
    "klein": build_klein,
    "flux2-dev": build_flux2_dev,
    "qwen": build_qwen,
}
needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="needs gguf")
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")
needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao")


@pytest.fixture(scope="module", params=BUILDERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    BUILDERS[request.param]().save_pretrained(folder)
    return folder


def _make(folder: Path, pipeline: DiffusionPipeline | None = None, **settings: Any) -> np.ndarray:
    if pipeline is None:
        settings = {"device": "cpu", **settings}
    config = GenerationConfig(
        base_model=str(folder), num_inference_steps=2, max_sequence_length=256,
        width=SIZE_PX, height=SIZE_PX, coupling_mode="log_bias", **settings,
    )  # fmt: skip
    made = load_generator(config, pipeline).generate([build_sample(0)])[0]
    assert isinstance(made, GeneratedSample), made
    return np.stack(made.images).astype(np.int16)


@pytest.fixture(scope="module")
def plain(folder: Path) -> np.ndarray:
    return _make(folder)


@needs_peft
def test_a_lora_gives_the_pixels_of_the_stock_pipeline_with_it(
    folder: Path, plain: np.ndarray, tmp_path: Path
) -> None:
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    rows = {}
    for name, module in pipeline.transformer.named_modules():
        if name.split(".")[-1] in ("to_q", "to_k", "to_v", "to_qkv_mlp_proj"):
            shapes = {"A": (4, module.in_features), "B": (module.out_features, 4)}
            for letter, shape in shapes.items():
                rows[f"transformer.{name}.lora_{letter}.weight"] = 0.2 * torch.randn(shape)
    path = tmp_path / "style.safetensors"
    save_file(rows, path)
    ours = _make(folder, lora=(str(path),))
    assert (ours != plain).any()
    pipeline.load_lora_weights(str(path), adapter_name="a")
    assert np.abs(ours - _make(folder, pipeline)).max() <= 1
    assert (_make(folder, lora=(str(path),), offload="disk") == ours).all()


def test_a_single_file_takes_the_place_of_the_transformer(
    folder: Path, plain: np.ndarray, tmp_path: Path
) -> None:
    (weights,) = (folder / "transformer").glob("*.safetensors")
    rows = load_file(weights)
    save_file(rows, tmp_path / "same.safetensors")
    assert (_make(folder, transformer=str(tmp_path / "same.safetensors")) == plain).all()
    save_file({name: 1.1 * each for name, each in rows.items()}, tmp_path / "other.safetensors")
    assert (_make(folder, transformer=str(tmp_path / "other.safetensors")) != plain).any()


@needs_gguf
def test_a_gguf_file_makes_similar_images(folder: Path, plain: np.ndarray, tmp_path: Path) -> None:
    (weights,) = (folder / "transformer").glob("*.safetensors")
    file = write_gguf(tmp_path / "q8.gguf", load_file(weights))
    distance = np.abs(_make(folder, quantize=f"gguf:{file}") - plain).mean()
    print(f"{folder.name}, gguf: mean difference {distance:.3f} of 255")
    assert 0 < distance < 10


@needs_torchao
def test_int8_weights_make_similar_images(folder: Path, plain: np.ndarray) -> None:
    distance = np.abs(_make(folder, quantize="int8") - plain).mean()
    print(f"{folder.name}, int8: mean difference {distance:.3f} of 255")
    assert 0 < distance < 10


def test_text_encoders_loaded_in_turn_with_the_transformer_make_the_same_images(
    folder: Path, plain: np.ndarray
) -> None:
    assert (_make(folder, offload="disk") == plain).all()
