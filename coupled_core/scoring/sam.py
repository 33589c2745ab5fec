"""Loads Segment Anything models: the published ViT-B/L/H checkpoints and folders of ours."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from segment_anything import sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor

from coupled_core.documents import DocumentError, parse_json, read_file
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.models.files import WEIGHT_ERRORS, describe_weights_error
from coupled_core.scoring.model_files import find_sam

_LARGEST_SIZE = 16384
"""Of anything in an architecture: beyond it a typing error would take all memory."""


@dataclass(frozen=True)
class SamArchitecture:
    """Size of a Segment Anything model; the published ones are `sam_model_registry`'s."""

    img_size: int = 64
    """Pixels of the side of the (square) input."""
    patch_size: int = 4
    """Pixels."""
    embed_dim: int = 96
    depth: int = 4
    num_heads: int = 4
    prompt_embed_dim: int = 64
    decoder_mlp_dim: int = 128


def build_sam(size: SamArchitecture) -> Sam:
    """Return an untrained model of the given size, in evaluation mode."""
    grid = size.img_size // size.patch_size
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=size.img_size, patch_size=size.patch_size, embed_dim=size.embed_dim, depth=size.depth,
            num_heads=size.num_heads, out_chans=size.prompt_embed_dim, qkv_bias=True, use_rel_pos=True,
            window_size=0, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=size.prompt_embed_dim, image_embedding_size=(grid, grid),
            input_image_size=(size.img_size, size.img_size), mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3, transformer_dim=size.prompt_embed_dim, iou_head_hidden_dim=64,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=size.prompt_embed_dim, mlp_dim=size.decoder_mlp_dim, num_heads=4
            ),
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )  # fmt: skip
    return sam.eval()


def save_sam(sam: Sam, size: SamArchitecture, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` (float16)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(size), indent=2) + "\n")
    halves = {name: value.half().contiguous() for name, value in sam.state_dict().items()}
    save_file(halves, folder / "model.safetensors")


def load_sam(spec: str, device: str, dtype: str = "float32") -> Sam:
    """Load a model.

    Args:
        spec: as `find_sam` takes it.
        device: where it computes, as torch names it.
        dtype: float32, bfloat16 or float16, of the image encoder; embeddings and all that follows
            from them are float32.

    Raises:
        ModelUnavailableError: the checkpoint is missing or is not one.
    """
    files = find_sam(spec)
    if files.published_type is not None:
        sam = _load_published(files.published_type, files.path)
    else:
        sam = _load_folder(files.path)
    if dtype != "float32":
        _encode_in(getattr(torch, dtype), sam.image_encoder)
    return sam.to(device)


def _encode_in(dtype: torch.dtype, encoder: ImageEncoderViT) -> None:
    """Let the blocks of an image encoder compute in half precision; it takes and gives float32.

    Nearly all of its work is in them. The neck squares what they return, which float16 may not
    hold, and the decoder is small.
    """
    encoder.to(dtype).neck.float()
    encoder.register_forward_pre_hook(lambda _, given: (given[0].to(dtype),))
    encoder.neck.register_forward_pre_hook(lambda _, given: (_require_finite(given[0]).float(),))


def _require_finite(hidden: Tensor) -> Tensor:
    if not hidden.isfinite().all():
        # No mask would be found, as if the image showed nothing.
        raise ConfigError(
            f"Segment Anything leaves the range of {hidden.dtype}: use --scoring-dtype bfloat16 or "
            "float32"
        )
    return hidden


def _load_folder(folder: Path) -> Sam:
    try:
        sam = build_sam(_read_architecture(folder / "config.json"))
        weights = load_file(folder / "model.safetensors")
        # Stored in half precision; on a CPU not all of its operations exist in that.
        sam.load_state_dict({name: value.float() for name, value in weights.items()})
    except (SafetensorError, *WEIGHT_ERRORS) as exc:
        raise ModelUnavailableError(
            f"the Segment Anything model in {folder} does not load: {describe_weights_error(exc)}: "
            "expected config.json and model.safetensors as `save_sam` writes them"
        ) from exc
    return sam


def _read_architecture(path: Path) -> SamArchitecture:
    try:
        sizes = TypeAdapter(SamArchitecture).validate_python(parse_json(read_file(path)))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "its content"
        raise DocumentError(f"{path}: {place}: {problem['msg']}") from error
    if largest := [name for name, size in asdict(sizes).items() if not 1 <= size <= _LARGEST_SIZE]:
        raise DocumentError(f"{largest[0]} is not between 1 and {_LARGEST_SIZE}")
    return sizes


def _load_published(kind: str, path: Path) -> Sam:
    try:
        # A checkpoint is a pickle; weights_only keeps it from running code.
        weights = torch.load(path, map_location="cpu", weights_only=True)
        sam: Sam = sam_model_registry[kind]()
        sam.load_state_dict(weights)
    except WEIGHT_ERRORS as exc:
        raise ModelUnavailableError(
            f"{path} is not a {kind} Segment Anything checkpoint: {describe_weights_error(exc)}"
        ) from exc
    return sam
