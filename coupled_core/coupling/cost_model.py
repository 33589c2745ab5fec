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
    stock_block = _linear(geometry, one) + _attention(geometry, one, one)
    if form == "stock":
        return (geometry.num_double_blocks + geometry.num_single_blocks) * stock_block
    double_block = _linear(geometry, both) + _attention(geometry, both, both)
    single_block = {
        # All rows attend to the image keys once. Each text is then attended to by its own rows and
        # the image's; the two texts never meet.
        "merged": _linear(geometry, both)
        + _attention(geometry, both, image)
        + 2 * _attention(geometry, one, text),
        "two_attentions": _linear(geometry, both) + 2 * _attention(geometry, one, one),
        "two_blocks": 2 * stock_block,
    }[form]
    return geometry.num_double_blocks * double_block + geometry.num_single_blocks * single_block


def predict_group_ratio(
    geometry: Geometry, num_prefix: int, num_middle: int, num_suffix: int, num_images: int
) -> float:
    """Return the cost of a coupled group over that of its images made singly by the stock model."""
    stock = predict_step_flops(geometry, "stock")
    # In steps of stock cost: the prefix is computed once a group, all others once an image.
    middle = predict_step_flops(geometry, "merged") / stock
    steps = num_prefix + num_middle + num_suffix
    coupled = num_prefix + num_images * (middle * num_middle + num_suffix)
    return coupled / (steps * num_images)


def predict_tied_step_flops(geometry: Geometry, num_images: int, num_inside: int) -> int:
    """Return the operations of a tied step of mode region, for the whole group.

    The background's row in full, and of each image the text and the region's tokens, which attend
    to all.

    Args:
        geometry: the model and its rows.
        num_images: of the group.
        num_inside: image tokens in the group's region and its soft edge.
    """
    inside = geometry.num_text_tokens + num_inside
    everything = geometry.num_text_tokens + geometry.num_image_tokens
    block = _linear(geometry, inside) + _attention(geometry, inside, everything)
    num_blocks = geometry.num_double_blocks + geometry.num_single_blocks
    return predict_step_flops(geometry, "stock") + num_images * num_blocks * block


def predict_region_ratio(
    geometry: Geometry,
    num_reading: int,
    num_tied: int,
    *,
    num_images: int,
    num_inside: int,
) -> float:
    """Return the cost of a group in mode region over that of its images made singly."""
    stock = predict_step_flops(geometry, "stock")
    tied = predict_tied_step_flops(geometry, num_images, num_inside) / stock
    # While the region is being read, the background is one more image beside the group's.
    group = num_reading * (1 + num_images) + num_tied * tied
    return group / ((num_reading + num_tied) * num_images)


def _linear(geometry: Geometry, num_tokens: int) -> int:
    return geometry.block_flops * geometry.width**2 * num_tokens


def _attention(geometry: Geometry, num_queries: int, num_keys: int) -> int:
    # Two products of S_q x S_k x d (queries with keys, weights with values), two operations each.
    return 4 * num_queries * num_keys * geometry.width
