"""Tokenizers and text encoders of the miniature: real CLIP and T5 with a small vocabulary."""

import json
import math
import re
import string
from collections import Counter

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.drawn_world.scenes import CaptionKind, sample_scene

MAX_TOKENS = 32
VOCABULARY_SIZE = 1000
TEXT_WIDTH = 128
LETTER_SCORE = -20.0  # log-probability; below that of any word


def sample_captions(count: int, seed: int = 3) -> list[str]:
    """Return captions of all kinds, to train tokenizers on."""
    rng = np.random.default_rng(seed)
    kinds: tuple[CaptionKind, ...] = ("full", "background", "entity")
    return [
        write_caption(rng, sample_scene(rng, dependence=0.0), kinds[i % 3]) for i in range(count)
    ]


def build_t5_tokenizer(captions: list[str]) -> T5TokenizerFast:
    """Return a Unigram tokenizer of whole words; unknown ones fall back to single characters."""
    words = Counter(word for caption in captions for word in re.findall(r"[A-Za-z]+", caption))
    total = sum(words.values())
    letters = ["▁", *string.ascii_letters, *string.digits, *".,;:'\"!?-()"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", math.log(count / total)) for word, count in sorted(words.items())]
    pieces += [(letter, LETTER_SCORE) for letter in letters]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=MAX_TOKENS)


def train_clip_tokenizer(captions: list[str]) -> CLIPTokenizer:
    """Return a byte-level BPE tokenizer whose end-of-text id is the highest, as OpenAI's."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(model["vocab"])
    for letter in alphabet:
        vocabulary.setdefault(letter + "</w>", len(vocabulary))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    merges = [tuple(m) for m in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def build_t5(tokenizer: T5TokenizerFast) -> T5EncoderModel:
    """Return an untrained T5 encoder."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=32, d_ff=256, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu", dropout_rate=0.0, pad_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip


def build_clip_text(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained CLIP text encoder; its pooled output feeds FLUX's modulation."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=256, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=MAX_TOKENS, projection_dim=TEXT_WIDTH,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
