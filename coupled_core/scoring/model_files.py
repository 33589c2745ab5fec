"""Where the scorers' models lie; looked at before an image is made, while a wrong path is cheap."""

from dataclasses import dataclass
from pathlib import Path

from coupled_core.config import ScoringConfig
from coupled_core.errors import ModelUnavailableError
from coupled_core.miniature import miniature_folder

PUBLISHED_SAM_TYPES = ("vit_h", "vit_l", "vit_b")
_LOCAL_CLIP = "local-dir:"


@dataclass(frozen=True)
class SamFiles:
    """A Segment Anything model on disk."""

    path: Path
    """A published checkpoint, or a folder of ours."""
    published_type: str | None
    """vit_h, vit_l or vit_b of a checkpoint; None: a folder."""


def find_sam(spec: str) -> SamFiles:
    """Return the files of a Segment Anything model.

    Args:
        spec: "miniature", a folder with `config.json` and `model.safetensors`, or TYPE:PATH with
            TYPE vit_h, vit_l or vit_b and PATH the published checkpoint.

    Raises:
        ModelUnavailableError: they are not there.
    """
    kind, _, path = spec.partition(":")
    if kind in PUBLISHED_SAM_TYPES and path:
        if not Path(path).is_file():
            raise ModelUnavailableError(
                f"no Segment Anything checkpoint at {path}: download the {kind} one from the "
                f"segment-anything repository and pass --sam-model {kind}:PATH"
            )
        return SamFiles(Path(path), kind)
    folder = miniature_folder("sam") if spec == "miniature" else Path(spec)
    if not (folder / "model.safetensors").is_file():
        raise ModelUnavailableError(
            f"no Segment Anything model at {spec!r}: expected 'miniature', a folder with "
            "config.json and model.safetensors, or TYPE:PATH (vit_h:sam_vit_h_4b8939.pth) of a "
            "published checkpoint"
        )
    return SamFiles(folder, None)


def find_clip(spec: str) -> tuple[str, str | None]:
    """Return name and weights of a CLIP model as `open_clip` wants them.

    Args:
        spec: "miniature", ARCHITECTURE:PRETRAINED (a tag such as ViT-L-14:openai, or the path of a
            checkpoint), hf-hub:ID or local-dir:FOLDER.

    Raises:
        ModelUnavailableError: no weights are named, or the folder is not there.
    """
    if spec == "miniature":
        return f"{_LOCAL_CLIP}{miniature_folder('clip')}", None
    if spec.startswith("hf-hub:"):
        return spec, None
    if spec.startswith(_LOCAL_CLIP):
        if not Path(spec.removeprefix(_LOCAL_CLIP)).is_dir():
            raise ModelUnavailableError(f"no CLIP model at {spec!r}: there is no such folder")
        return spec, None
    name, _, pretrained = spec.partition(":")
    if not pretrained:
        raise ModelUnavailableError(
            f"CLIP model {spec!r} names no weights: expected ARCHITECTURE:PRETRAINED such as "
            "ViT-L-14:openai, hf-hub:ID, local-dir:FOLDER or 'miniature'"
        )
    return name, pretrained


def require_scorers(config: ScoringConfig) -> None:
    """Refuse what cannot score, as far as a look at the disk can tell.

    Raises:
        ModelUnavailableError: a model is named wrongly or is not there.
    """
    find_sam(config.sam_model)
    find_clip(config.clip_model)
