"""A Flux2KleinPipeline of the real classes with random weights, its text encoder included."""

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

_TEXT_WIDTH, _NUM_LAYERS = 16, 28
_CHANNELS = 4
_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_klein(*, is_distilled: bool = True) -> Flux2KleinPipeline:
    torch.manual_seed(0)
    tokenizer = _build_tokenizer()
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=build_vae(),
        text_encoder=_build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        transformer=build_transformer(),
        is_distilled=is_distilled,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _build_tokenizer() -> Qwen2TokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*letters, *_MARKS))}
    return Qwen2TokenizerFast(
        vocab=vocabulary,
        merges=[],
        chat_template=_CHAT,
        model_max_length=512,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )


def _build_text_encoder(tokenizer: Qwen2TokenizerFast) -> Qwen3ForCausalLM:
    """The pipeline reads layers 9, 18 and 27."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=_TEXT_WIDTH,
            intermediate_size=2 * _TEXT_WIDTH,
            num_hidden_layers=_NUM_LAYERS,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
        )
    ).eval()


def build_transformer(*, guidance_embeds: bool = False) -> Flux2Transformer2DModel:
    model = Flux2Transformer2DModel(
        in_channels=4 * _CHANNELS,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * _TEXT_WIDTH,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    for parameter in model.parameters():
        parameter.data.mul_(2.0)  # text matters more, so that a mistake shows
    return model.eval()


def build_vae() -> AutoencoderKLFlux2:
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=_CHANNELS,
        norm_num_groups=4,
        sample_size=32,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    return vae.eval()
