"""Draws the images of a group together while they are denoised: a coupling without attention."""

from torch import Tensor, lerp


def pull_together(
    latents: Tensor, velocity: Tensor, sigma: Tensor, group_of_row: Tensor, strength: float
) -> Tensor:
    """Return the velocity that leads to predicted clean latents nearer to their group's mean.

    Coupled sampling of independent images, after "Coupled Diffusion Sampling for Training-Free
    Multi-View Image Editing" (Alzayer et al., 2025), with the group's mean as what they are drawn
    to: x0_i += strength (mean_j x0_j - x0_i), where x0 = x - sigma v.

    Args:
        latents: (R, S_img, in_channels).
        velocity: the model's at these latents, of their shape.
        sigma: noise level in (0, 1], 0-d.
        group_of_row: index of the group that a row belongs to, (R,), integer.
        strength: 0 leaves the predictions alone, 1 makes those of a group equal.
    """
    # FLUX is trained on x = (1 - sigma) x0 + sigma noise and predicts v = noise - x0.
    clean = latents - sigma * velocity
    # lerp is exact at both ends: at strength 1 images that were equal stay equal to the last bit.
    pulled = lerp(clean, average_over_groups(clean, group_of_row), strength)
    return (latents - pulled) / sigma


def average_over_groups(rows: Tensor, group_of_row: Tensor) -> Tensor:
    """Return for each row the mean of the rows of its group, of the shape of the rows."""
    groups = group_of_row.to(rows.device)
    counts = groups.bincount().to(rows.dtype).reshape(-1, *[1] * (rows.ndim - 1))
    # One row of totals a group; index_add_ sums the rows of the same group.
    totals = rows.new_zeros(len(counts), *rows.shape[1:]).index_add_(0, groups, rows)
    return (totals / counts)[groups]
