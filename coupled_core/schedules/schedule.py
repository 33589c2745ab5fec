"""A schedule: the weight beta of the entity text as a function of the noise level sigma."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from torch import Tensor, float64

from coupled_core.config import CouplingMode, fingerprint
from coupled_core.errors import ScheduleError
from coupled_core.schedules.families import FAMILIES, find_parameter_error
from coupled_core.schedules.region import RegionSettings

Parameters = Mapping[str, float | tuple[float, ...]]


@dataclass(frozen=True)
class Schedule:
    """beta(sigma) and what it was made for; over sigma, so it serves any step count and shift."""

    family: str
    """step, arctan, sine or isotonic; formulas in `schedules.families`."""
    parameters: Parameters
    """In normalised time t = 1 - sigma."""
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
    """Of mode region; None in the others."""
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

    def beta(self, sigma: Tensor) -> Tensor:
        """Return beta for noise levels in [0, 1], any shape, in float64."""
        return FAMILIES[self.family](1.0 - sigma.to(float64), **self.parameters)

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
            content["region"] = asdict(self.region)
        if self.fit is not None:
            content["fit"] = dict(self.fit)
        return content
