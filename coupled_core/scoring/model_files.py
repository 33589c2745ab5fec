"""Where the scorers' models lie; looked at before an image is made, while a wrong path is cheap."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from coupled_core.config import RunConfig, ScoringConfig
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.miniature import miniature_folder
from coupled_core.models.files import WEIGHT_ERRORS, describe_weights_error, require_files
from coupled_core.suggestions import suggest

PUBLISHED_SAM_TYPES = {"vit_h": 32, "vit_l": 24, "vit_b": 12}
"""The published models, and how many blocks their image encoders have."""
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
    if not folder.is_dir():
        raise ModelUnavailableError(
            f"no Segment Anything model at {spec!r}: expected 'miniature', a folder with "
            "config.json and model.safetensors, or TYPE:PATH (vit_h:sam_vit_h_4b8939.pth) of a "
            f"published checkpoint{suggest(kind, ['miniature', *PUBLISHED_SAM_TYPES], 3)}"
        )
    require_files(folder, ("config.json", "model.safetensors"))
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
        spec = f"{_LOCAL_CLIP}{miniature_folder('clip')}"
    if spec.startswith("hf-hub:"):
        return spec, None
    if spec.startswith(_LOCAL_CLIP):
        folder = Path(spec.removeprefix(_LOCAL_CLIP))
        if not folder.is_dir():
            raise ModelUnavailableError(f"no CLIP model at {spec!r}: there is no such folder")
        # The weights' name is open_clip's choice: safetensors, or PyTorch's own format.
        require_files(folder, ("open_clip_config.json", "open_clip_*model.*"))
        return spec, None
    name, _, pretrained = spec.partition(":")
    if not pretrained:
        raise ModelUnavailableError(
            f"CLIP model {spec!r} names no weights: expected ARCHITECTURE:PRETRAINED such as "
            "ViT-L-14:openai, hf-hub:ID, local-dir:FOLDER or 'miniature'"
            f"{suggest(spec, ['miniature'])}"
        )
    return name, pretrained


def find_clip_folder(spec: str) -> Path | None:
    """Return the folder of a CLIP model; None: it has a published name.

    Raises:
        ModelUnavailableError: as `find_clip`.
    """
    name, _ = find_clip(spec)
    is_folder = name.startswith(_LOCAL_CLIP)
    return Path(name.removeprefix(_LOCAL_CLIP)) if is_folder else None


def find_missing_clip(spec: str) -> str | None:
    """Return the hub id of a CLIP model that is to be fetched first; None: it is here, or unknown.

    Args:
        spec: as in `find_clip`.
    """
    name, pretrained = find_clip(spec)
    if pretrained is None or Path(pretrained).is_file():
        return None
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    known = open_clip.pretrained.get_pretrained_cfg(name, pretrained).get("hf_hub", "")
    hub_id = known.strip("/")
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if not hub_id or any(isinstance(try_to_load_from_cache(hub_id, n), str) for n in names):
        return None
    return str(hub_id)


_KNOWN_CLIP_BYTES = {"ViT-L-14:openai": 1_710_466_052}


def scorer_bytes(config: ScoringConfig) -> int:
    """Return what the scorers' weights take, as far as that is known before they are fetched.

    In half precision some of Segment Anything stays in float32, which is 10 MB more than counted.
    """
    known = _KNOWN_CLIP_BYTES.get(config.clip_model, 0)
    try:
        sam = find_sam(config.sam_model)
    except ModelUnavailableError:  # told where it is needed
        pass
    else:
        if sam.published_type:
            known += sam.path.stat().st_size
        else:  # stored in half precision
            known += 2 * (sam.path / "model.safetensors").stat().st_size
    return known if config.dtype == "float32" else known // 2


def require_scorers(config: ScoringConfig) -> None:
    """Refuse what cannot score, as far as a look at the disk and at the lists of names can tell.

    Raises:
        ModelUnavailableError: a model is named wrongly, is not there, or is not one.
    """
    sam = find_sam(config.sam_model)
    if sam.published_type is not None:
        _require_sam_checkpoint(sam.path, sam.published_type)
    name, pretrained = find_clip(config.clip_model)
    if pretrained is not None:
        _require_clip_name(name, pretrained)


def require_dtype(config: ScoringConfig, device: str) -> None:
    """Refuse a number format in which the device does not compute.

    Args:
        config: Its `dtype` is meant.
        device: Where the scorers will compute, as torch names it.

    Raises:
        ConfigError: naming formats that work.
    """
    if config.dtype == "float32":
        return
    if device == "cpu":
        if config.dtype == "float16":
            raise ConfigError(
                "scoring.dtype float16 is for GPUs, but the device is cpu: use --scoring-dtype "
                "float32 (or bfloat16, to try half precision out)"
            )
        return
    import torch  # where there is an accelerator, it is in use already

    try:
        pixel = torch.ones(1, 1, 1, 1, device=device, dtype=getattr(torch, config.dtype))
        torch.nn.functional.conv2d(pixel, pixel)
    except (RuntimeError, TypeError, AssertionError) as exc:  # each backend refuses in its own way
        raise ConfigError(
            f"device {device} does not compute in scoring.dtype {config.dtype} "
            f"({str(exc).splitlines()[0]}): use --scoring-dtype float32"
        ) from exc


def require_fitting_judges(config: RunConfig) -> None:
    """Refuse scorers that know nothing of what the base model draws.

    Raises:
        ConfigError: only the base model is not the miniature, and the settings do not insist.
    """
    judges = {"sam_model": config.scoring.sam_model, "clip_model": config.scoring.clip_model}
    unfit = [name for name, spec in judges.items() if spec == "miniature"]
    if unfit and config.generation.base_model != "miniature" and not config.scoring.unfit_judges:
        raise ConfigError(
            f"base model {config.generation.base_model!r} would be judged by the miniature's "
            f"{' and '.join(unfit)}, which know nothing but the miniature's own world, so scores "
            "would mean nothing: name models such as --sam-model vit_h:PATH and --clip-model "
            "ViT-L-14:openai, or insist with --unfit-judges"
        )


def _require_sam_checkpoint(path: Path, kind: str) -> None:
    names = _read_tensor_names(path, f"a {kind} Segment Anything checkpoint")
    prefix = "image_encoder.blocks."
    # The three published sizes differ in the depth of their image encoder.
    blocks = {name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)}
    if len(blocks) != PUBLISHED_SAM_TYPES[kind]:
        raise ModelUnavailableError(
            f"{path} is not a {kind} Segment Anything checkpoint: expected an image encoder of "
            f"{PUBLISHED_SAM_TYPES[kind]} blocks, got {len(blocks)}"
        )


def _require_clip_name(name: str, pretrained: str) -> None:
    import open_clip  # ten seconds, which only published models need

    if name not in open_clip.list_models():
        raise ModelUnavailableError(
            f"open_clip knows no CLIP architecture {name!r}"
            f"{suggest(name, open_clip.list_models(), 3)}"
        )
    path = Path(pretrained)
    if path.is_file():
        if path.suffix != ".safetensors":
            _read_tensor_names(path, f"a checkpoint of {name}")
    elif not open_clip.pretrained.is_pretrained_cfg(name, pretrained):
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise ModelUnavailableError(
            f"open_clip has no weights {pretrained!r} for {name}, and there is no such file: "
            f"expected a checkpoint or one of {', '.join(tags) or 'none'}"
            f"{suggest(pretrained, tags, 3)}"
        )


def _read_tensor_names(path: Path, what: str) -> list[str]:
    """Return the names of a checkpoint's tensors; where its format allows, without their values."""
    import torch

    try:
        # On "meta" tensors have a shape and no values, and with mmap the file is not read.
        # weights_only keeps a checkpoint, which is a pickle, from running code.
        content = torch.load(
            path, map_location="meta", mmap=zipfile.is_zipfile(path), weights_only=True
        )
    except WEIGHT_ERRORS as exc:
        raise ModelUnavailableError(f"{path} is not {what}: {describe_weights_error(exc)}") from exc
    return list(content) if isinstance(content, dict) else []
