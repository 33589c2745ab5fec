"""A schedule: the weight beta of the entity text as a function of the noise level sigma.

The formulas run over normalised time t = 1 - sigma: 0 is pure noise, 1 the clean image. They are
the families of the paper's appendix B.3.1, and free values on knots; each is non-decreasing in t
with values in [0, 1]. They take torch tensors, in which they are differentiable, and NumPy arrays.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from inspect import getfullargspec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args, overload

import numpy as np

from coupled_core.config import fingerprint
from coupled_core.errors import ScheduleError
from coupled_core.records import CouplingMode

if TYPE_CHECKING:
    from torch import Tensor

Array = Any
"""A torch tensor or a NumPy array; what comes out is of the kind that went in."""
Parameters = Mapping[str, float | tuple[float, ...]]


def step(t: Array, *, center: Array) -> Array:
    """Jump from 0 to 1 at `center`; the paper's "01"."""
    xp = _library_of(t)
    return xp.where(t >= center, xp.ones_like(t), xp.zeros_like(t))


def arctan(t: Array, *, center: Array, slope: Array) -> Array:
    """Rise along an arctangent that reaches neither end.

    beta = 1/2 + arctan(slope (t - center)) / pi.
    """
    return 0.5 + _library_of(t).arctan(slope * (t - center)) / math.pi


def sine(t: Array, *, center: Array, width: Array) -> Array:
    """Rise as 1/2 (1 + sin(pi (t - center) / width)); exactly 0 and 1 from width / 2 away on."""
    xp = _library_of(t)
    phase = ((t - center) / width).clip(-0.5, 0.5)
    rising = 0.5 * (1.0 + xp.sin(math.pi * phase))
    # Exactly 0 and 1 and not up to rounding: only then steps can be shared, and the background's
    # text dropped.
    return xp.where(phase <= -0.5, 0.0, xp.where(phase >= 0.5, 1.0, rising))


def isotonic(t: Array, *, times: Array, values: Array) -> Array:
    """Piecewise linear through (times, values), constant beyond the first and the last knot."""
    xp = _library_of(t)
    knots, heights = (
        x if hasattr(x, "dtype") else xp.asarray(x, dtype=t.dtype, device=t.device)
        for x in (times, values)
    )
    # The knot to the right of each t, by counting, which NumPy and torch write alike.
    right = (t[..., None] >= knots).sum(-1).clip(1, len(knots) - 1)
    left = right - 1
    # Clipped, so that beta stays constant beyond the first and the last knot.
    fraction = ((t - knots[left]) / (knots[right] - knots[left])).clip(0.0, 1.0)
    return heights[left] + (heights[right] - heights[left]) * fraction


FAMILIES: Mapping[str, Callable[..., Array]] = {
    "step": step,
    "arctan": arctan,
    "sine": sine,
    "isotonic": isotonic,
}


@dataclass(frozen=True)
class RegionSettings:
    """Where the entities' region of mode `region` comes from, how large it is, how long it holds.

    In that mode beta is a function of the place, too: beta(sigma, token) = beta(sigma) * m(token).
    m is 1 where an entity of the group comes to stand, 0 elsewhere, with a soft edge between.
    Lengths are shares of the image's shorter side, so that one schedule serves every size.
    """

    size: float = 0.12
    """Share of the image tokens that one entity gets, (0, 1]; the region unites a group's images.
    1 leaves every token free."""
    margin: float = 0.0625
    """Width of the rim added around it, >= 0."""
    feather: float = 0.0625
    """Width over which m falls from 1 to 0 outside the rim, >= 0."""
    read_until: float = 0.7
    """The region is read at every step whose sigma is at least this; then it stays, [0, 1]."""
    matte: float = 0.07
    """Difference from the background, as a share of full brightness, from which on the pixels of a
    region are the image's own; below a third of it they are the background's, [0, 1]. Shadows
    fainter than that are lost. 0 keeps the whole region."""

    def find_error(self) -> str | None:
        """Return what is wrong with the settings, or None."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                return f"{field.name} expects a number; got {value!r}"
            if not math.isfinite(value) or not 0 <= value <= 1:
                return f"{field.name} must lie in [0, 1]; got {value}"
        if self.size == 0:
            return "size must be above 0, or there would be no entity; got 0"
        return None


@dataclass(frozen=True)
class Schedule:
    """beta(sigma) and what it was made for; over sigma, so it serves any step count and shift."""

    family: str
    """step, arctan, sine or isotonic."""
    parameters: Parameters
    """Parameters of the family's formula, in normalised time t = 1 - sigma."""
    mode: CouplingMode
    """A schedule of one mode does not carry over to the other."""
    base_model: str
    """Hub id or "miniature": what it was fitted or picked on."""
    base_model_revision: str | None
    """None where it was not fitted on one revision."""
    optimised: bool
    """False: picked by hand."""
    note: str
    num_inference_steps: int | None = None
    """Steps it was fitted with; None when picked by hand."""
    shift: float | None = None
    """Shift of the noise levels it was fitted with (mu if dynamic); None when picked by hand."""
    region: RegionSettings | None = None
    """Given in mode region; None in the others."""
    fit: Mapping[str, Any] | None = None
    """How it was fitted and how well it does, as JSON values; not part of the id: it changes no
    image."""

    def __post_init__(self) -> None:
        """Refuse what is not a non-decreasing function into [0, 1].

        Raises:
            ScheduleError: a parameter or the mode is wrong.
        """
        if self.mode not in get_args(CouplingMode):
            raise ScheduleError(
                f"unknown coupling mode {self.mode!r}; expected one of {get_args(CouplingMode)}"
            )
        problem = find_parameter_error(self.family, self.parameters)
        if (self.mode == "region") != (self.region is not None):
            problem = f"mode region needs region settings, others have none; got {self.region}"
        elif problem is None and self.region is not None:
            problem = self.region.find_error()
        if problem is not None:
            raise ScheduleError(f"this is not a schedule: {problem}")

    @property
    def id(self) -> str:
        """SHA-256 of everything the schedule says about images, 64 hex digits."""
        return fingerprint({k: v for k, v in self.to_dict().items() if k != "fit"})

    @overload
    def beta(self, sigma: "Tensor") -> "Tensor": ...
    @overload
    def beta(self, sigma: np.ndarray) -> np.ndarray: ...
    def beta(self, sigma: Array) -> Array:
        """Return beta for noise levels in [0, 1], any shape, in float64."""
        # float64, since in bfloat16 a beta near its ends would become 0 or 1.
        exact = sigma.astype(np.float64) if isinstance(sigma, np.ndarray) else sigma.double()
        return FAMILIES[self.family](1.0 - exact, **self.parameters)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form without the id; what is optional and not there is left out."""
        content: dict[str, Any] = {
            "family": self.family,
            "parameters": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.parameters.items()
            },
            "mode": self.mode,
            "base_model": self.base_model,
            "base_model_revision": self.base_model_revision,
            "optimised": self.optimised,
            "note": self.note,
            "num_inference_steps": self.num_inference_steps,
            "shift": self.shift,
        }
        if self.region is not None:
            # Files from before there were mattes keep their ids.
            content["region"] = {k: v for k, v in asdict(self.region).items() if k != "matte" or v}
        if self.fit is not None:
            content["fit"] = dict(self.fit)
        return content


def find_parameter_error(family: str, parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a family's parameters, or None."""
    if family not in FAMILIES:
        return f"unknown family {family!r}; expected one of {', '.join(FAMILIES)}"
    # The formula's own arguments say what a family takes.
    expected = getfullargspec(FAMILIES[family]).kwonlyargs
    if sorted(parameters) != sorted(expected):
        return f"family {family} expects the parameters {expected}; got {sorted(parameters)}"
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


def _library_of(array: Array) -> Any:
    if isinstance(array, np.ndarray | np.generic):
        return np
    # Here and not above: reports draw schedules without the seconds that torch takes to import.
    import torch

    return torch
