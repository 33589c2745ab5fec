"""What mode region leaves open beside beta, for searches and sweeps."""

from dataclasses import fields

from coupled_core.methods.method import Knob, Knobs
from coupled_core.schedules.region import RegionSettings

_START = RegionSettings()
_DECIMALS = 6

REGION_KNOBS = (
    Knob("size", 0.02, 0.25, _START.size, meaning="share of the tokens that one entity gets"),
    Knob("margin", 0.0, 0.2, _START.margin, meaning="rim around it, share of the shorter side"),
    Knob("feather", 0.0, 0.2, _START.feather, meaning="soft edge, share of the shorter side"),
    Knob("read_until", 0.3, 1.0, _START.read_until, meaning="least sigma at which it is read"),
    Knob("release", 0.0, 0.3, _START.release, meaning="sigma below which images are not tied"),
)


def build_region(knobs: Knobs) -> RegionSettings:
    """Return the settings that these knobs, among others, describe."""
    names = [field.name for field in fields(RegionSettings)]
    return RegionSettings(**{name: round(float(knobs[name]), _DECIMALS) for name in names})
