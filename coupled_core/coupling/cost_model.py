"""What a denoising step costs in floating-point operations, predicted from the model's geometry.

Per block: 24 d^2 a token for the matrices of FLUX.1, 26 d^2 for those of FLUX.2, and 4 S_q S_k d
for an attention of S_q queries to S_k keys. What is computed once an image and not once a token
(modulation, embeddings) is left out: a third of a percent.
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal["stock", "merged", "two_attentions", "two_blocks"]


@dataclass(frozen=True)
class Geometry:
    """A transformer of FLUX's kind and the rows it works on."""

    width: int
    """d, the size of a token."""
    num_double_blocks: int
    num_single_blocks: int
    num_image_tokens: int
    num_text_tokens: int
    """Tokens of one text stream; background and entity have the same."""
    block_flops: int = 24
    """Operations of a block's matrices for a token, in squares of the width."""


def predict_step_flops(geometry: Geometry, form: Form) -> int:
    """Return the operations of one step for one image.

    Args:
        geometry: the model and its rows.
        form: stock is one text, as in a prefix or suffix step; merged is ours; two_attentions runs
            both attentions whole and all else once; two_blocks runs the whole single-stream block
            twice, as published.
    """
    text, image = geometry.num_text_tokens, geometry.num_image_tokens
    # Rows that a block sees with one text and with both.
    one, both = text + image, 2 * text + image
    stock_block = linear_flops(geometry, one) + attention_flops(geometry, one, one)
    if form == "stock":
        return (geometry.num_double_blocks + geometry.num_single_blocks) * stock_block
    double_block = linear_flops(geometry, both) + attention_flops(geometry, both, both)
    single_block = {
        # All rows attend to the image keys once. Each text is then attended to by its own rows and
        # the image's; the two texts never meet.
        "merged": linear_flops(geometry, both)
        + attention_flops(geometry, both, image)
        + 2 * attention_flops(geometry, one, text),
        "two_attentions": linear_flops(geometry, both) + 2 * attention_flops(geometry, one, one),
        "two_blocks": 2 * stock_block,
    }[form]
    return geometry.num_double_blocks * double_block + geometry.num_single_blocks * single_block


def linear_flops(geometry: Geometry, num_tokens: int) -> int:
    """Return the operations of a block's matrices."""
    return geometry.block_flops * geometry.width**2 * num_tokens


def attention_flops(geometry: Geometry, num_queries: int, num_keys: int) -> int:
    """Return the operations of one attention."""
    # Two products of S_q x S_k x d (queries with keys, weights with values), two operations each.
    return 4 * num_queries * num_keys * geometry.width
