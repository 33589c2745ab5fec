"""The knobs that a method is compared with, and how well they did where they were found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coupled_core.methods.method import Knob, Knobs


@dataclass(frozen=True)
class Tuned:
    """What the search found for one method."""

    method: str
    knobs: Knobs
    objective: float | None
    """Mean J with guards on the training prompts; None: a method without knobs is not searched."""
    default_objective: float | None
    """The same at the method's defaults."""
    num_evaluations: int
    """Candidates."""
    main_knob: Knob | None
    """What the method's curve follows."""
    meanings: Mapping[str, str]
    """What each knob is."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Tuned":
        """Rebuild what `asdict` made."""
        main = value["main_knob"]
        return cls(**{**value, "main_knob": Knob(**main) if main else None})
