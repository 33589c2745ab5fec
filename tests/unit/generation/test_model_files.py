import json
import shutil
from pathlib import Path

import pytest

from coupled_core.errors import ModelUnavailableError
from coupled_core.generation.model_files import KNOWN_MODELS, find_model_files, hash_folder


@pytest.fixture
def copied(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def test_a_folder_tells_its_defaults_without_weights(copied: Path) -> None:
    for weights in copied.rglob("*.safetensors"):
        weights.unlink()
    files = find_model_files(str(copied), None)
    assert (files.size_px, files.size_multiple_px, files.max_sequence_length) == (32, 4, 32)
    assert files.known.license == "unknown"
    assert not files.guidance_embeds


def test_a_copy_has_the_same_revision_until_a_weight_changes(
    copied: Path, model_folder: Path
) -> None:
    assert hash_folder(copied) == hash_folder(model_folder)
    weights = next(copied.glob("transformer/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert hash_folder(copied) != hash_folder(model_folder)


def test_a_name_that_is_neither_folder_nor_hub_id_says_what_to_give() -> None:
    with pytest.raises(ModelUnavailableError, match="no such folder, and it is not a hub id"):
        find_model_files("./models/none", None)


def test_a_folder_that_is_no_pipeline_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"not a FLUX pipeline .*model_index\.json"):
        find_model_files(str(tmp_path), None)


def test_a_pipeline_of_another_kind_is_refused_by_name(copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "FluxFillPipeline"})
    )
    with pytest.raises(
        ModelUnavailableError, match="expected a FluxPipeline, got a FluxFillPipeline"
    ):
        find_model_files(str(copied), None)


def test_a_hub_model_that_cannot_be_fetched_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelUnavailableError, match=r"not in the local cache.*hf auth login"
    ) as failure:
        find_model_files("black-forest-labs/FLUX.1-dev", None)
    assert "pass a folder" in str(failure.value)


def test_the_licence_of_flux_dev_travels_with_its_limits() -> None:
    dev = KNOWN_MODELS["black-forest-labs/FLUX.1-dev"]
    assert "Non-Commercial" in dev.license
    assert "competes with FLUX.1 [dev]" in dev.use_restrictions
    assert KNOWN_MODELS["black-forest-labs/FLUX.1-schnell"].license == "Apache-2.0"


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_a_folder_without_a_vocabulary_is_refused_before_anything_loads(
    copied: Path, name: str
) -> None:
    for file in (copied / name).iterdir():
        if file.name != "tokenizer_config.json":
            file.unlink()
    with pytest.raises(ModelUnavailableError, match=f"{name} holds no vocabulary"):
        find_model_files(str(copied), None)


@pytest.mark.parametrize(
    ("name", "files"),
    [("tokenizer", ("vocab.json", "merges.txt")), ("tokenizer_2", ("spiece.model",))],
)
def test_the_files_of_published_tokenizers_will_do(
    copied: Path, name: str, files: tuple[str, ...]
) -> None:
    (copied / name / "tokenizer.json").unlink()
    for file in files:
        (copied / name / file).touch()
    assert find_model_files(str(copied), None).folder == copied
