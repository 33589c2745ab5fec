"""How small a difference a paired comparison can find, and how many groups it takes to find it.

The normal approximation (Cohen 1988, chapter 2): a mean of n paired differences with standard
deviation sd is found at the two-sided 5 % level with 80 % probability from
(z(.975) + z(.8)) sd / sqrt(n) on.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # help pages import this, and can do without NumPy
    from coupled_core.research.evaluation.intervals import Interval

TYPICAL_SD = 0.25
"""Of paired differences of J between ways of coupling the same groups; .19 to .30 were measured on
the miniature where no entity was lost. A lost entity counts the floor, which makes it larger."""
TYPICAL_SDS = {"combined": TYPICAL_SD, "background_similarity_clear": 2.1}
"""By measure; that of S clear of the masks between two region settings, on 200 pairs."""
LEAST_GROUPS_TO_DECIDE = 8
"""Bootstrap intervals of fewer groups are too narrow to decide by: that of two lies above 0 in one
case of four where there is no difference."""
_Z_LEVEL, _Z_POWER = 1.959964, 0.841621


def detectable_difference(num_groups: int, sd: float = TYPICAL_SD) -> float:
    """Return the smallest difference that so many groups find with 80 % probability."""
    if num_groups < 1:
        raise ValueError(f"expected at least 1 group, got {num_groups}")
    return (_Z_LEVEL + _Z_POWER) * sd / math.sqrt(num_groups)


def count_groups_to_detect(difference: float, sd: float = TYPICAL_SD) -> int:
    """Return how many groups find a difference with 80 % probability."""
    if difference <= 0.0:
        raise ValueError(f"expected a difference above 0, got {difference}")
    return math.ceil(((_Z_LEVEL + _Z_POWER) * sd / difference) ** 2)


def detectable_by(difference: "Interval") -> float:
    """Return what a comparison could have found, by the width of the interval that it gave."""
    standard_error = (difference.high - difference.low) / (2.0 * _Z_LEVEL)
    return (_Z_LEVEL + _Z_POWER) * standard_error
