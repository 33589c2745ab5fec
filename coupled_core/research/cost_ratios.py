"""What coupled groups cost beside images made singly, predicted from the model's geometry."""

from coupled_core.coupling.cost_model import (
    Geometry,
    attention_flops,
    linear_flops,
    predict_step_flops,
)


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
    block = linear_flops(geometry, inside) + attention_flops(geometry, inside, everything)
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
