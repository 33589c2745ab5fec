"""Models that are not there are found out by a look at the disk."""

from pathlib import Path

import pytest

from coupled_core.config import ScoringConfig
from coupled_core.errors import ModelUnavailableError
from coupled_core.scoring.model_files import find_clip, find_sam, require_scorers


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
    (tmp_path / "model.safetensors").touch()
    assert find_sam(str(tmp_path)).published_type is None
    found = find_sam(f"vit_l:{tmp_path / 'model.safetensors'}")
    assert (found.published_type, found.path) == ("vit_l", tmp_path / "model.safetensors")


def test_a_clip_model_comes_as_architecture_and_weights_or_as_one_name() -> None:
    assert find_clip("ViT-L-14:openai") == ("ViT-L-14", "openai")
    assert find_clip("hf-hub:laion/some-clip") == ("hf-hub:laion/some-clip", None)
