"""A FluxPipeline of the real classes with random weights, and samples to run through it."""

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from torch import nn

from coupled_core.records import GroupSplit, PromptGroup, Sample
from coupled_core.research.training.text import (
    TEXT_WIDTH,
    build_clip_text,
    build_t5,
    build_t5_tokenizer,
    sample_captions,
    train_clip_tokenizer,
)

SIZE_PX = 32


def build_pipeline(*, guidance_embeds: bool = False) -> FluxPipeline:
    torch.manual_seed(0)
    captions = sample_captions(200)
    tokenizer, tokenizer_2 = train_clip_tokenizer(captions), build_t5_tokenizer(captions)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=True, base_image_seq_len=64, max_image_seq_len=1024
        ),
        vae=_build_vae(),
        text_encoder=build_clip_text(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=build_t5(tokenizer_2),
        tokenizer_2=tokenizer_2,
        transformer=_build_transformer(guidance_embeds),
    )
    for name in ("text_encoder", "text_encoder_2", "transformer"):
        _enlarge(getattr(pipeline, name))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def build_sample(
    index: int = 0, num_images: int = 2, *, size_px: int | None = None, seed: int | None = None
) -> Sample:
    entities = ("a red fox", "an old eagle", "a blue car", "a white dog")[:num_images]
    background = f"a meadow number {index} at dawn"
    prompts = tuple(f"{entity} in {background}" for entity in entities)
    group = PromptGroup(
        group_id=f"group-{index}",
        prompts=prompts,
        source_file="test.parquet",
        source_row=index,
        width=size_px,
        height=size_px,
    )
    split = GroupSplit(
        background_prompt=background,
        entity_prompts=entities,
        edit_instructions={},
        variation_kind="entity_swap",
        source="given",
        request_sha256="0" * 64,
    )
    return Sample(group=group, seed=index if seed is None else seed, split=split)


def _build_transformer(guidance_embeds: bool) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )


def _build_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIZE_PX,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1,
        scaling_factor=0.8,
    )


def _enlarge(module: nn.Module) -> None:
    """Make text matter more than at initialisation, so that a mistake shows in the images."""
    for parameter in module.parameters():
        parameter.data.mul_(1.5)
