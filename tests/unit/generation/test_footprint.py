"""How large a base model is, before it is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from coupled_core.config import GenerationConfig
from coupled_core.generation.footprint import find_footprint, geometry_of
from coupled_core.generation.model_files import KNOWN_MODELS, ModelFiles, find_model_files
from coupled_core.generation.pipeline import load_pipeline
from coupled_core.generation.provenance import resolve

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
    found = find_footprint(MINIATURE, f"gguf:{tmp_path / 'q.gguf'}")
    assert found.stored_bytes == {"transformer": 77}


def test_the_geometry_is_that_of_the_configuration() -> None:
    geometry = geometry_of(MINIATURE, 64, 64, 32)
    assert (geometry.width, geometry.num_double_blocks, geometry.num_single_blocks) == (128, 2, 4)
    assert (geometry.num_image_tokens, geometry.num_text_tokens) == (256, 32)
    assert ModelFiles.__dataclass_fields__["transformer"].default_factory().num_layers == 19
