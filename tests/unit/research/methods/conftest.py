from collections.abc import Mapping
from pathlib import Path

import pytest

from coupled_core.config import GenerationConfig
from coupled_core.research.methods.method import Method
from coupled_core.research.methods.registry import load_methods
from coupled_core.research.methods.stock import StockMethod, StockModel
from tests.unit.generation.tiny_pipeline import build_pipeline
from tests.unit.research.methods.small_methods import SOURCE_METHODS, load_all


@pytest.fixture(scope="session")
def method_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("methods") / "tiny-flux"
    build_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def methods(method_model_folder: Path) -> Mapping[str, Method]:
    """Every method on one tiny model without guidance."""
    return load_all(method_model_folder)


@pytest.fixture(scope="session")
def guided_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a guidance embedding, as FLUX.1-dev has."""
    folder = tmp_path_factory.mktemp("methods") / "tiny-guided-flux"
    build_pipeline(guidance_embeds=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def guided_methods(guided_model_folder: Path) -> Mapping[str, Method]:
    return load_all(guided_model_folder)


@pytest.fixture(scope="session")
def bfloat16_methods(guided_model_folder: Path) -> Mapping[str, Method]:
    return load_all(guided_model_folder, dtype="bfloat16")


@pytest.fixture(scope="session")
def miniature_methods() -> Mapping[str, Method]:
    """Those that edit image 0 on the shipped model: trained, so nearness means something."""
    config = GenerationConfig(device="cpu", num_inference_steps=8)
    return load_methods(["random-seed", *SOURCE_METHODS], config)


@pytest.fixture(scope="session")
def model(methods: Mapping[str, Method]) -> StockModel:
    method = methods["random-seed"]
    assert isinstance(method, StockMethod)
    return method.model
