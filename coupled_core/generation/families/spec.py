"""Which families of base models are known, and what of each must be known before anything loads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Guidance = Literal["none", "embedding", "classifier-free"]
"""How a guidance scale takes effect: not at all, as an input of the transformer, or between two
predictions, one of them for the empty text."""


@dataclass(frozen=True)
class TokenizerSpec:
    """A tokenizer of a pipeline."""

    folder: str
    encoder: str
    """The part of the pipeline that reads its tokens."""
    name: str
    """What people call it."""
    class_name: str
    """Of `transformers`."""
    vocabularies: tuple[tuple[str, ...], ...]
    """Any of these sets of files will do. Without them a tokenizer still loads, and knows no
    words."""
    chat: Literal["none", "qwen3", "mistral"] = "none"
    """Into which words of a conversation the text is put."""

    def find_in(self, pipeline: Any) -> Any:
        """Return it from a loaded pipeline; a processor of texts and images has it inside."""
        loaded = getattr(pipeline, self.folder)
        return getattr(loaded, "tokenizer", loaded)


@dataclass(frozen=True)
class FamilySpec:
    """A family: models of one pipeline class."""

    name: str
    pipeline_class: str
    """Of `diffusers`."""
    implementation: str
    """MODULE:CLASS in this folder, loaded with the weights."""
    parts: tuple[str, ...]
    """Those that have weights."""
    tokenizers: tuple[TokenizerSpec, ...]
    """The first one's text directs the images."""
    block_flops: int
    """Operations of a block's matrices for a token, in squares of the token's width."""
    step_bytes: tuple[int, int]
    """What a step takes beside weights, in bytes for a token and a number of its width: for each
    byte of a number's format, and whatever that is. Counted, see `memory_plan`."""
    max_sequence_length: int = 512
    """Most tokens of a text."""
    decode_maps: int = 3
    """Maps of full size that are alive at the worst moment of decoding, of the autoencoder's last
    but one width. Counted, see `memory_plan.decode_bytes`."""
    default_size_px: int | None = None
    """Side of an image; None: the autoencoder's configuration says it."""
    vae_levels: str = "block_out_channels"
    """What it calls its list of levels: each but the last halves the sides."""
    has_single_blocks: bool = True
    is_classifier_free: bool = False
    """Whether its models take classifier-free guidance, but for those that were distilled."""

    @property
    def config_files(self) -> tuple[str, ...]:
        """Files that say all that a plan needs."""
        tokenizers = (f"{each.folder}/tokenizer_config.json" for each in self.tokenizers)
        return ("transformer/config.json", "vae/config.json", *tokenizers)

    def list_parts(self, *, has_own_transformer: bool = True) -> tuple[str, ...]:
        """Return the parts with weights, or those beside a transformer from another file."""
        return tuple(part for part in self.parts if has_own_transformer or part != "transformer")

    def find_guidance(
        self, pipeline_config: Mapping[str, Any], transformer_config: Mapping[str, Any]
    ) -> Guidance:
        """Return how a model of the family is guided, from `model_index.json` and its transformer.

        The index says whether it was distilled.
        """
        if self.is_classifier_free:
            return "none" if pipeline_config.get("is_distilled") else "classifier-free"
        return "embedding" if transformer_config.get("guidance_embeds") else "none"


FLUX_1 = FamilySpec(
    name="FLUX.1",
    pipeline_class="FluxPipeline",
    implementation="flux1:Flux1",
    parts=("text_encoder", "text_encoder_2", "transformer", "vae"),
    tokenizers=(
        TokenizerSpec(
            "tokenizer_2", "text_encoder_2", "T5", "T5Tokenizer",
            (("tokenizer.json",), ("spiece.model",)),
        ),
        TokenizerSpec(
            "tokenizer", "text_encoder", "CLIP", "CLIPTokenizer",
            (("tokenizer.json",), ("vocab.json", "merges.txt")),
        ),
    ),
    block_flops=24,
    step_bytes=(15, 12),
)  # fmt: skip
FLUX_2_KLEIN = FamilySpec(
    name="FLUX.2 [klein]",
    pipeline_class="Flux2KleinPipeline",
    implementation="flux2:Flux2Klein",
    parts=("text_encoder", "transformer", "vae"),
    tokenizers=(
        TokenizerSpec(
            "tokenizer", "text_encoder", "Qwen3", "Qwen2TokenizerFast",
            (("tokenizer.json",), ("vocab.json", "merges.txt")), chat="qwen3",
        ),
    ),
    block_flops=26,
    step_bytes=(22, 1),
    is_classifier_free=True,
)  # fmt: skip
FLUX_2_DEV = FamilySpec(
    name="FLUX.2 [dev]",
    pipeline_class="Flux2Pipeline",
    implementation="flux2:Flux2Dev",
    parts=("text_encoder", "transformer", "vae"),
    tokenizers=(
        TokenizerSpec(
            "tokenizer", "text_encoder", "Mistral", "AutoTokenizer", (("tokenizer.json",),),
            chat="mistral",
        ),
    ),
    block_flops=26,
    step_bytes=(22, 1),
)  # fmt: skip
QWEN_IMAGE = FamilySpec(
    name="Qwen-Image",
    pipeline_class="QwenImagePipeline",
    implementation="qwen:QwenImage",
    parts=("text_encoder", "transformer", "vae"),
    tokenizers=(
        TokenizerSpec(
            "tokenizer", "text_encoder", "Qwen2.5-VL", "Qwen2TokenizerFast",
            (("tokenizer.json",), ("vocab.json", "merges.txt")),
        ),
    ),
    block_flops=24,
    step_bytes=(12, 5),
    decode_maps=9,  # its autoencoder is one of films: each map has two frames of padding before it
    max_sequence_length=1024,
    default_size_px=1024,
    vae_levels="dim_mult",
    has_single_blocks=False,
    is_classifier_free=True,
)  # fmt: skip
SPECS: Mapping[str, FamilySpec] = {
    each.pipeline_class: each for each in (FLUX_1, FLUX_2_KLEIN, FLUX_2_DEV, QWEN_IMAGE)
}
"""By pipeline class."""


def describe_supported() -> str:
    """Return which models can be coupled, for errors."""
    return ", ".join(f"{each.name} ({each.pipeline_class})" for each in SPECS.values())
