"""Settings of mode `region`: beta as a function of the noise level and of the place in the image.

beta(sigma, token) = beta(sigma) * m(token). m is 1 where an entity of the group comes to stand, 0
elsewhere, with a soft edge between. Lengths are shares of the image's shorter side, so that one
schedule serves every size.
"""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class RegionSettings:
    """Where the entities' region comes from, how large it is, and how long it holds."""

    size: float = 0.07
    """Share of the image tokens that one entity gets, (0, 1]; the region unites a group's images.
    1 leaves every token free."""
    margin: float = 0.0625
    """Width of the rim added around it, >= 0."""
    feather: float = 0.0625
    """Width over which m falls from 1 to 0 outside the rim, >= 0."""
    read_until: float = 0.6
    """The region is read at every step whose sigma is at least this; then it stays, [0, 1]."""
    release: float = 0.03
    """Below this sigma the images are no longer tied to the common background, [0, 1)."""

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
        if self.release >= 1:
            return f"release must be below 1, or no background would be shared; got {self.release}"
        return None
