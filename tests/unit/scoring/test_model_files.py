"""Models that are not there are found out by a look at the disk."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch

from coupled_core.config import RunConfig, ScoringConfig
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.miniature import miniature_folder
from coupled_core.scoring.model_files import (
    PUBLISHED_SAM_TYPES,
    find_clip,
    find_sam,
    require_fitting_judges,
    require_scorers,
)


def test_the_shipped_scorers_are_there() -> None:
    require_scorers(ScoringConfig())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sam_model": "vit_b:sam.pth"}, "no Segment Anything checkpoint at sam.pth"),
        ({"sam_model": "some-folder"}, "TYPE:PATH"),
        ({"clip_model": "ViT-L-14"}, "names no weights"),
        ({"clip_model": "local-dir:some-folder"}, "no such folder"),
    ],
)
def test_what_is_not_there_is_named(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ModelUnavailableError, match=said):
        require_scorers(ScoringConfig(**settings))


def test_a_published_checkpoint_is_told_from_a_folder(tmp_path: Path) -> None:
    assert find_sam(str(miniature_folder("sam"))).published_type is None
    (tmp_path / "model.safetensors").touch()
    found = find_sam(f"vit_l:{tmp_path / 'model.safetensors'}")
    assert (found.published_type, found.path) == ("vit_l", tmp_path / "model.safetensors")


def test_a_clip_model_comes_as_architecture_and_weights_or_as_one_name() -> None:
    assert find_clip("ViT-L-14:openai") == ("ViT-L-14", "openai")
    assert find_clip("hf-hub:laion/some-clip") == ("hf-hub:laion/some-clip", None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clip_model": "ViT-L-15:openai"}, "did you mean .*ViT-L-14"),
        ({"clip_model": "ViT-L-14:opena"}, "did you mean openai"),
        ({"clip_model": "minature"}, "did you mean miniature"),
        ({"sam_model": "minature"}, "did you mean miniature"),
        ({"sam_model": "vith:sam.pth"}, "did you mean vit_h"),
    ],
)
def test_a_misspelt_name_is_found_without_loading_a_model(
    settings: dict[str, str], said: str
) -> None:
    with pytest.raises(ModelUnavailableError, match=said):
        require_scorers(ScoringConfig(**settings))


def test_published_names_of_open_clip_pass() -> None:
    require_scorers(ScoringConfig(clip_model="ViT-L-14:openai"))


class _Arbitrary:
    """What no checkpoint of tensors holds."""


@pytest.mark.parametrize("is_plain_pickle", [False, True])
def test_a_pickled_checkpoint_is_refused(tmp_path: Path, is_plain_pickle: bool) -> None:
    path = tmp_path / "sam.pth"
    if is_plain_pickle:
        path.write_bytes(pickle.dumps(_Arbitrary(), protocol=2))
    else:
        torch.save({"model": _Arbitrary()}, path)
    with pytest.raises(ModelUnavailableError, match="could run code"):
        require_scorers(ScoringConfig(sam_model=f"vit_b:{path}"))
    with pytest.raises(ModelUnavailableError, match="could run code"):
        require_scorers(ScoringConfig(clip_model=f"ViT-B-32:{path}"))


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    blocks = range(PUBLISHED_SAM_TYPES["vit_b"])
    torch.save({f"image_encoder.blocks.{n}.norm1.weight": torch.ones(2) for n in blocks}, path)
    require_scorers(ScoringConfig(sam_model=f"vit_b:{path}"))
    with pytest.raises(ModelUnavailableError, match="32 blocks, got 12"):
        require_scorers(ScoringConfig(sam_model=f"vit_h:{path}"))


def test_the_miniature_judges_no_other_base_model_unless_asked_to() -> None:
    other: dict[str, dict[str, object]] = {"generation": {"base_model": "some-org/some-flux"}}
    with pytest.raises(ConfigError, match="sam_model and clip_model"):
        require_fitting_judges(RunConfig.model_validate(other))
    real = other | {"scoring": {"clip_model": "ViT-L-14:openai"}}
    with pytest.raises(ConfigError, match="miniature's sam_model, which"):
        require_fitting_judges(RunConfig.model_validate(real))
    insisting = other | {"scoring": {"unfit_judges": True}}
    require_fitting_judges(RunConfig.model_validate(insisting))
    require_fitting_judges(RunConfig())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("clip", "open_clip_model.safetensors"),
        ("clip", "open_clip_config.json"),
        ("sam", "model.safetensors"),
        ("sam", "config.json"),
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_missing_or_damaged_file_of_a_folder_is_named(
    tmp_path: Path, kind: str, name: str, is_there: bool
) -> None:
    folder = shutil.copytree(miniature_folder(kind), tmp_path / "copy")
    (folder / name).unlink()
    if is_there:
        (folder / name).write_bytes(b"")
    spec = f"local-dir:{folder}" if kind == "clip" else str(folder)
    with pytest.raises(ModelUnavailableError, match=f"{folder}/.*is (damaged|missing)"):
        require_scorers(ScoringConfig.model_validate({f"{kind}_model": spec}))
