from pathlib import Path

import pytest
from diffusers import FluxPipeline

from tests.unit.generation.tiny_pipeline import build_pipeline


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("models") / "tiny-flux"
    build_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def guided_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a guidance embedding, as FLUX.1-dev has."""
    folder = tmp_path_factory.mktemp("models") / "tiny-guided-flux"
    build_pipeline(guidance_embeds=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pipeline(model_folder: Path) -> FluxPipeline:
    loaded = FluxPipeline.from_pretrained(model_folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded
