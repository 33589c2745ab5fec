"""All numbers of a report, computed once and given to the page, the picture and the summary."""

from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.report.breakdown import Breakdown, break_down
from coupled_core.report.distributions import Distribution, compute_distributions
from coupled_core.report.measurements import Measurements, read_measurements
from coupled_core.report.schedule_curve import ScheduleCurve, find_schedules
from coupled_core.report.survival import SurvivalCurve, bounds_in_force, compute_survival
from coupled_core.storage.store import ObjectStore

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
    """Median of a pair's share."""
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
        devices=tuple(_device(pairs, name) for name in sorted(pairs.devices.names)),
    )


def _device(pairs: Measurements, name: str) -> DeviceCost:
    seconds = pairs.of("gpu_seconds")[pairs.devices.index == pairs.devices.names.index(name)]
    seconds = seconds[np.isfinite(seconds)]
    total = float(seconds.sum())
    return DeviceCost(
        device=name,
        num_pairs=len(seconds),
        seconds=total,
        pairs_per_hour=len(seconds) * SECONDS_PER_HOUR / total if total else 0.0,
        median_seconds=float(np.median(seconds)) if len(seconds) else 0.0,
        p95_seconds=float(np.quantile(seconds, 0.95)) if len(seconds) else 0.0,
    )


@dataclass(frozen=True)
class Origin:
    """One way in which images were made; fields mean what their columns mean."""

    base_model: str
    base_model_revision: str | None
    weights: str | None
    schedule_id: str
    coupling_mode: str
    num_inference_steps: int
    width: int
    height: int
    dtype: str
    license: str | None
    use_restrictions: str | None
    num_pairs: int


_ORIGIN_COLUMNS = tuple(field.name for field in fields(Origin))[:-1]


def count_origins(store: ObjectStore, snapshot: Snapshot) -> tuple[Origin, ...]:
    """Return every way in which generated pairs were made, the most frequent first."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for batch in iter_manifest(store, snapshot.parts, _ORIGIN_COLUMNS):
        counts.update(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return tuple(
        Origin(**dict(zip(_ORIGIN_COLUMNS, values, strict=True)), num_pairs=number)
        for values, number in counts.most_common()
        # Rows that were never generated have no model.
        if values[0] is not None
    )


@dataclass(frozen=True)
class DatasetProfile:
    """What a report says about a snapshot."""

    dataset: str
    """Folder or s3:// location."""
    snapshot: Snapshot
    pairs: Measurements
    in_force: dict[str, tuple[float, ...]]
    """Where the bound of each filter stands, by its setting."""
    distributions: tuple[Distribution, ...]
    survival: tuple[SurvivalCurve, ...]
    kinds: Breakdown
    backgrounds: Breakdown
    costs: Costs
    origins: tuple[Origin, ...]
    schedules: tuple[ScheduleCurve, ...]

    @property
    def funnel(self) -> Funnel:
        """The funnel of all runs together."""
        return self.snapshot.funnel

    def to_dict(self) -> dict[str, Any]:
        """Return the summary, as it stands in JSON."""
        return {
            "dataset": self.dataset,
            "snapshot_id": self.snapshot.snapshot_id,
            "funnel": self.funnel.to_dict(),
            "survival": survival_to_dict(self.survival),
            "kinds": asdict(self.kinds),
            "backgrounds": asdict(self.backgrounds),
            "costs": asdict(self.costs),
            "origins": [asdict(origin) for origin in self.origins],
        }


def survival_to_dict(curves: tuple[SurvivalCurve, ...]) -> dict[str, Any]:
    """Return survival curves by the setting of their filter, as they stand in JSON."""
    return {curve.filter.setting: curve.to_dict() for curve in curves}


def profile_snapshot(store: ObjectStore, snapshot: Snapshot) -> DatasetProfile:
    """Read the manifest of a snapshot and compute what a report says."""
    pairs = read_measurements(store, snapshot)
    in_force = bounds_in_force(snapshot.runs)
    origins = count_origins(store, snapshot)
    schedule_ids = list(dict.fromkeys(origin.schedule_id for origin in origins))
    return DatasetProfile(
        dataset=store.uri,
        snapshot=snapshot,
        pairs=pairs,
        in_force=in_force,
        distributions=compute_distributions(pairs, in_force),
        survival=compute_survival(pairs, in_force),
        kinds=break_down(pairs, pairs.kinds),
        backgrounds=break_down(pairs, pairs.backgrounds),
        costs=sum_costs(pairs),
        origins=origins,
        schedules=tuple(find_schedules(schedule_ids, snapshot.runs)),
    )
