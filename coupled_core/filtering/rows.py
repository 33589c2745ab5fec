"""Decisions from the numbers of a manifest row: the masks themselves are not needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from coupled_core.config import FilterConfig
from coupled_core.filtering.decide import decide
from coupled_core.records import METRIC_NAMES, PairScores, RejectReason


@dataclass(frozen=True)
class _Area:
    """All that decisions ask of a mask."""

    area_fraction: float


def judge_row(row: Mapping[str, Any], thresholds: Mapping[str, float]) -> tuple[RejectReason, ...]:
    """Return what thresholds object to a scored row; (): they let it pass.

    Args:
        row: Of the manifest, with status ok.
        thresholds: Settings of the filter by name; the others have their defaults.
    """
    scores = PairScores(**{name: row[name] for name in METRIC_NAMES})
    masks = (_Area(row["mask_0_area_fraction"]), _Area(row["mask_1_area_fraction"]))
    return decide(scores, masks, _config(tuple(sorted(thresholds.items())))).reject_reasons


@lru_cache(maxsize=64)
def _config(thresholds: tuple[tuple[str, float], ...]) -> FilterConfig:
    known = FilterConfig.model_fields
    return FilterConfig.model_validate({k: v for k, v in thresholds if k in known})
