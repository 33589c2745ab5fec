"""The one interface behind which every way of making a group of images stands: ours and others'."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from coupled_core.errors import ConfigError
from coupled_core.records import Rejection, Sample

if TYPE_CHECKING:
    from coupled_core.generation.sampler import OnStep

Knobs = Mapping[str, float]
"""Values by `Knob.name`."""


@dataclass(frozen=True)
class Knob:
    """One number that a method leaves open, and the range in which to look for it."""

    name: str
    low: float
    high: float
    default: float
    integer: bool = False
    meaning: str = ""
    """One line with the unit, for tables and help texts."""


@dataclass(frozen=True)
class MethodOutput:
    """The images of one sample, and what they cost."""

    images: tuple[np.ndarray, ...]
    """uint8, (H, W, 3), RGB; one for each prompt, in order."""
    seconds: float
    """Wall time of the sample's share of its batch, decoding included."""
    model_evaluations: float
    """Rows that went through the transformer for this sample, each a pass over one image's tokens
    and one prompt; 2 T for the stock pair of images in T steps. A row with part of the image's
    tokens counts by its share of them."""
    regions: tuple[np.ndarray, ...] | None = None
    """Where each image is its own, float32, (H, W) in [0, 1]; None: the method has no regions."""
    crop_evidence: tuple[float, ...] | None = None
    """See `GeneratedSample`; None: the method has no regions."""


class Method(Protocol):
    """A way of making a group of images from one noise."""

    @property
    def name(self) -> str:
        """The name in tables and on the command line: coupled, prompt-switch, p2p, ..."""

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What may be tuned; empty for none."""

    @property
    def main_knob(self) -> str | None:
        """The knob that trades background against entities; a trade-off curve follows it."""

    def generate(
        self, samples: Sequence[Sample], knobs: Knobs, on_step: "OnStep | None" = None
    ) -> list[MethodOutput | Rejection]:
        """Make the images of one batch of samples; images do not depend on the batch.

        Args:
            samples: groups with seeds; every method starts from the same noise of a sample.
            knobs: a value for every knob.
            on_step: called with (steps done, steps in all).
        """


def check_knobs(method: str, expected: Sequence[Knob], given: Knobs) -> None:
    """Raise ConfigError unless there is a value for every knob and nothing else."""
    names = [knob.name for knob in expected]
    if sorted(names) != sorted(given):
        raise ConfigError(f"{method} expects the knobs {sorted(names)}; got {sorted(given)}")
