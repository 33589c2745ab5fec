"""How large a base model is, before it is loaded."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from coupled_core.config import GenerationConfig
from coupled_core.errors import ModelUnavailableError
from coupled_core.generation.footprint import find_footprint, geometry_of
from coupled_core.generation.model_files import KNOWN_MODELS, ModelFiles, find_model_files
from coupled_core.generation.pipeline import load_pipeline
from coupled_core.generation.provenance import resolve
from coupled_core.miniature import miniature_folder

MINIATURE = find_model_files("miniature", None)
SCHNELL = KNOWN_MODELS["black-forest-labs/FLUX.1-schnell"]
ON_THE_HUB = replace(MINIATURE, name=SCHNELL.id, folder=None, revision="abc", known=SCHNELL)


def test_the_parameters_of_a_folder_are_those_of_the_loaded_pipeline() -> None:
    pipeline = load_pipeline(resolve(GenerationConfig(device="cpu")), "none")
    counted = find_footprint(MINIATURE)
    for part in ("transformer", "vae"):
        loaded = sum(each.numel() for each in getattr(pipeline, part).parameters())
        assert counted.num_parameters[part] == loaded
    assert counted.missing_bytes == 0


def test_what_the_cache_of_the_hub_lacks_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    whole = find_footprint(ON_THE_HUB).missing_bytes
    assert whole == 2 * sum(SCHNELL.num_parameters.values())
    folder = tmp_path / f"models--{SCHNELL.id.replace('/', '--')}" / "snapshots" / "abc"
    (folder / "vae").mkdir(parents=True)
    (folder / "vae" / "model.safetensors").write_bytes(bytes(1000))
    (folder / "flux1-schnell.safetensors").write_bytes(bytes(77))  # no part of the pipeline
    assert find_footprint(ON_THE_HUB).missing_bytes == whole - 1000


def test_a_gguf_file_stays_in_memory_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "q.gguf").write_bytes(bytes(77))
    found = find_footprint(MINIATURE, GenerationConfig(quantize=f"gguf:{tmp_path / 'q.gguf'}"))
    assert found.stored_bytes == {"transformer": 77}


@pytest.mark.parametrize("settings", [{"transformer": "x.safetensors"}, {"quantize": "gguf:x"}])
def test_a_transformer_that_a_file_replaces_is_not_to_be_fetched(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    sizes = SCHNELL.num_parameters
    missing = find_footprint(ON_THE_HUB, GenerationConfig(**settings)).missing_bytes
    assert missing == 2 * (sum(sizes.values()) - sizes["transformer"])


def test_a_folder_without_a_transformer_of_its_own_takes_that_of_the_file(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(miniature_folder("flux"), tmp_path / "copy"))
    (weights,) = (folder / "transformer").glob("*.safetensors")
    file = weights.rename(tmp_path / "mine.safetensors")
    config = GenerationConfig(base_model=str(folder), transformer=str(file), device="cpu")
    whole = find_footprint(MINIATURE).num_parameters
    assert find_footprint(find_model_files(str(folder), None), config).num_parameters == whole
    assert load_pipeline(resolve(config), "none").transformer.num_parameters() > 1e6
    with pytest.raises(ModelUnavailableError, match=r"transformer/.* is missing"):
        load_pipeline(resolve(config.model_copy(update={"transformer": None})), "none")


def test_the_geometry_is_that_of_the_configuration() -> None:
    geometry = geometry_of(MINIATURE, 64, 64, 32)
    assert (geometry.width, geometry.num_double_blocks, geometry.num_single_blocks) == (128, 2, 4)
    assert (geometry.num_image_tokens, geometry.num_text_tokens) == (256, 32)
    assert ModelFiles.__dataclass_fields__["transformer"].default_factory().num_layers == 19
