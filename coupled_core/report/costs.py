"""What the pairs of a snapshot cost: device time, language model, pairs an hour."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from coupled_core.report.measurements import Measurements

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class DeviceCost:
    """What one kind of device made."""

    device: str
    num_pairs: int
    seconds: float
    """Wall time of generating; pairs of one group share it."""
    pairs_per_hour: float
    """Generated pairs an hour of one such device."""
    median_seconds: float
    """Of a pair's share."""
    p95_seconds: float


@dataclass(frozen=True)
class Costs:
    """Totals of a snapshot."""

    gpu_seconds: float
    """Device time of generating, whatever the device was."""
    gpu_seconds_per_kept_pair: float | None
    """None where no pair is kept."""
    kept_pairs_per_hour: float | None
    """Kept pairs an hour of device time; None where nothing was generated."""
    llm_cost_usd: float
    llm_cost_usd_per_kept_pair: float | None
    devices: tuple[DeviceCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return asdict(self)


def sum_costs(pairs: Measurements) -> Costs:
    """Add up the costs of all rows, kept or not."""
    gpu_seconds = float(np.nansum(pairs.of("gpu_seconds")))
    llm_cost_usd = float(np.nansum(pairs.of("llm_cost_usd")))
    num_kept = int(pairs.is_kept.sum())
    return Costs(
        gpu_seconds=gpu_seconds,
        gpu_seconds_per_kept_pair=gpu_seconds / num_kept if num_kept else None,
        kept_pairs_per_hour=num_kept * SECONDS_PER_HOUR / gpu_seconds if gpu_seconds else None,
        llm_cost_usd=llm_cost_usd,
        llm_cost_usd_per_kept_pair=llm_cost_usd / num_kept if num_kept else None,
        devices=tuple(_device(pairs, index) for index in range(len(pairs.devices))),
    )


def _device(pairs: Measurements, index: int) -> DeviceCost:
    seconds = pairs.of("gpu_seconds")[pairs.device_index == index]
    seconds = seconds[np.isfinite(seconds)]
    total = float(seconds.sum())
    return DeviceCost(
        device=pairs.devices[index],
        num_pairs=len(seconds),
        seconds=total,
        pairs_per_hour=len(seconds) * SECONDS_PER_HOUR / total if total else 0.0,
        median_seconds=float(np.median(seconds)) if len(seconds) else 0.0,
        p95_seconds=float(np.quantile(seconds, 0.95)) if len(seconds) else 0.0,
    )
