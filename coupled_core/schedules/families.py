"""The formulas of beta over normalised time t = 1 - sigma: 0 is pure noise, 1 the clean image.

Families of the paper's appendix B.3.1, and free values on knots. Each is non-decreasing in t with
values in [0, 1]. Parameters are numbers or 0-d tensors (knots: sequences or 1-d tensors); the
results are differentiable in them where they are tensors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Number = float | Tensor


def step(t: Tensor, *, center: Number) -> Tensor:
    """Jump from 0 to 1 at `center`; the paper's "01"."""
    return (t >= center).to(t.dtype)


def arctan(t: Tensor, *, center: Number, slope: Number) -> Tensor:
    """Rise along an arctangent that reaches neither end.

    beta = 1/2 + arctan(slope (t - center)) / pi.
    """
    return 0.5 + torch.arctan(slope * (t - center)) / math.pi


def sine(t: Tensor, *, center: Number, width: Number) -> Tensor:
    """Rise as 1/2 (1 + sin(pi (t - center) / width)); exactly 0 and 1 from width / 2 away on."""
    phase = ((t - center) / width).clamp(-0.5, 0.5)
    rising = 0.5 * (1.0 + torch.sin(math.pi * phase))
    return torch.where(phase <= -0.5, 0.0, torch.where(phase >= 0.5, 1.0, rising))


def isotonic(
    t: Tensor, *, times: Sequence[float] | Tensor, values: Sequence[float] | Tensor
) -> Tensor:
    """Piecewise linear through (times, values), constant beyond the first and the last knot."""
    knots, heights = (torch.as_tensor(x, dtype=t.dtype, device=t.device) for x in (times, values))
    right = torch.searchsorted(knots, t.detach().contiguous(), right=True).clamp(1, len(knots) - 1)
    left = right - 1
    fraction = ((t - knots[left]) / (knots[right] - knots[left])).clamp(0.0, 1.0)
    return heights[left] + (heights[right] - heights[left]) * fraction


FAMILIES: Mapping[str, Callable[..., Tensor]] = {
    "step": step,
    "arctan": arctan,
    "sine": sine,
    "isotonic": isotonic,
}
PARAMETER_NAMES: Mapping[str, tuple[str, ...]] = {
    "step": ("center",),
    "arctan": ("center", "slope"),
    "sine": ("center", "width"),
    "isotonic": ("times", "values"),
}


def find_parameter_error(family: str, parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a family's parameters, or None."""
    if family not in FAMILIES:
        return f"unknown family {family!r}; expected one of {', '.join(FAMILIES)}"
    expected = PARAMETER_NAMES[family]
    if sorted(parameters) != sorted(expected):
        return f"family {family} expects the parameters {list(expected)}; got {sorted(parameters)}"
    if family == "isotonic":
        return _find_knot_error(parameters["times"], parameters["values"])
    for name, value in parameters.items():
        if not _is_finite(value):
            return f"{name} expects a finite number; got {value!r}"
        if name in ("slope", "width") and value <= 0:
            return f"{name} must be above 0, or beta would not rise; got {value}"
    return None


def _find_knot_error(times: Any, values: Any) -> str | None:
    if not all(isinstance(x, list | tuple) and all(map(_is_finite, x)) for x in (times, values)):
        return f"times and values expect lists of finite numbers; got {times!r} and {values!r}"
    if len(times) != len(values) or len(times) < 2:
        return f"expected at least 2 times and as many values; got {len(times)} and {len(values)}"
    if any(b <= a for a, b in pairwise(times)):
        return f"times must increase; got {list(times)}"
    if any(b < a for a, b in pairwise(values)):
        return (
            f"values must not decrease (beta never goes back to the background); got {list(values)}"
        )
    if values[0] < 0 or values[-1] > 1:
        return f"values must lie in [0, 1]; got {list(values)}"
    return None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
