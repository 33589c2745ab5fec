"""A Flux2Pipeline of the real classes with random weights, its text encoder included."""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2Pipeline
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    PreTrainedTokenizerFast,
)

from tests.unit.generation.tiny_klein import build_transformer, build_vae

_TEXT_WIDTH = 16
_MARKS = ("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM]", "[/SYSTEM]")
_IMAGE_MARKS = ("[IMG]", "[IMG_BREAK]", "[IMG_END]")
_CHAT = (
    "<s>{% for message in messages %}{% if message.role == 'system' %}[SYSTEM]"
    "{{ message.content[0].text }}[/SYSTEM]{% else %}[INST]{{ message.content[0].text }}[/INST]"
    "{% endif %}{% endfor %}"
)


def build_flux2_dev() -> Flux2Pipeline:
    torch.manual_seed(0)
    processor = _build_processor()
    pipeline = Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=build_vae(),
        text_encoder=_build_text_encoder(len(processor.tokenizer)),
        tokenizer=processor,
        transformer=build_transformer(guidance_embeds=True),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _build_processor() -> PixtralProcessor:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*letters, *_MARKS, *_IMAGE_MARKS))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=[*_MARKS[4:], *_IMAGE_MARKS],
        model_max_length=1024,
        chat_template=_CHAT,
    )
    return PixtralProcessor(PixtralImageProcessor(), tokenizer, chat_template=_CHAT)


def _build_text_encoder(vocab_size: int) -> Mistral3ForConditionalGeneration:
    """The pipeline reads layers 10, 20 and 30."""
    text = {
        "model_type": "mistral",
        "vocab_size": vocab_size,
        "hidden_size": _TEXT_WIDTH,
        "intermediate_size": 2 * _TEXT_WIDTH,
        "num_hidden_layers": 31,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    config = Mistral3Config(text_config=text, vision_config=vision, image_token_index=5)
    return Mistral3ForConditionalGeneration(config).eval()
