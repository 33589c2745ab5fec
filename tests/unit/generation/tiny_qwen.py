"""A QwenImagePipeline of the real classes with random weights, its text encoder included."""

from itertools import pairwise

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2TokenizerFast

_TEXT_WIDTH, _CHANNELS = 16, 4
_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "system Describe Ġthe Ġimage Ġby Ġdetailing Ġcolor Ġshape Ġsize Ġtexture Ġquantity Ġtext "
    "Ġspatial Ġrelationships Ġof Ġobjects Ġand Ġbackground user"
)
"""The pipeline drops the 34 tokens that its template has in the real vocabulary, so it must have as
many in this one, which knows letters otherwise."""


def build_qwen() -> QwenImagePipeline:
    torch.manual_seed(0)
    tokenizer = _build_tokenizer()
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192,
            shift_terminal=0.02,
        ),
        vae=_build_vae(),
        text_encoder=_build_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=_build_transformer(),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _build_tokenizer() -> Qwen2TokenizerFast:
    merges: dict[tuple[str, str], None] = {}
    for word in _TEMPLATE.split():
        starts = [word[: i + 1] for i in range(len(word))]
        merges |= {(start, word[len(start)]): None for start, _ in pairwise(starts)}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    joined = [first + second for first, second in merges]
    vocabulary = {token: i for i, token in enumerate((*letters, *joined, *_MARKS))}
    return Qwen2TokenizerFast(
        vocab=vocabulary,
        merges=list(merges),
        model_max_length=2048,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )


def _build_text_encoder(vocab_size: int) -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": vocab_size,
        "hidden_size": _TEXT_WIDTH,
        "intermediate_size": 2 * _TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": _TEXT_WIDTH,
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def _build_transformer() -> QwenImageTransformer2DModel:
    model = QwenImageTransformer2DModel(
        in_channels=4 * _CHANNELS,
        out_channels=_CHANNELS,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_TEXT_WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    for parameter in model.parameters():
        parameter.data.mul_(2.0)  # text matters more, so that a mistake shows
    return model.eval()


def _build_vae() -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=_CHANNELS,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, -0.4],
        latents_std=[1.5, 0.5, 2.0, 0.8],
    ).eval()
