"""All numbers of a report, computed once and given to the page, the picture and the summary."""

from dataclasses import dataclass
from typing import Any

from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.report.costs import Costs, sum_costs
from coupled_core.report.distributions import Distribution, compute_distributions
from coupled_core.report.measurements import Measurements, read_measurements
from coupled_core.report.origins import Origin, count_origins
from coupled_core.report.schedule_curve import ScheduleCurve, find_schedules
from coupled_core.report.survival import SurvivalCurve, compute_survival
from coupled_core.report.thresholds import bounds_in_force
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class SnapshotFacts:
    """What a report says about a snapshot."""

    dataset: str
    """Folder or s3:// location."""
    snapshot: Snapshot
    pairs: Measurements
    in_force: dict[str, tuple[float, ...]]
    """Where the thresholds stand, by name."""
    distributions: tuple[Distribution, ...]
    survival: tuple[SurvivalCurve, ...]
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
            "costs": self.costs.to_dict(),
            "origins": [origin.to_dict() for origin in self.origins],
        }


def survival_to_dict(curves: tuple[SurvivalCurve, ...]) -> dict[str, Any]:
    """Return survival curves by the name of their threshold, as they stand in JSON."""
    return {curve.threshold.name: curve.to_dict() for curve in curves}


def gather_facts(store: ObjectStore, snapshot: Snapshot) -> SnapshotFacts:
    """Read the manifest of a snapshot and compute what a report says."""
    pairs = read_measurements(store, snapshot)
    in_force = bounds_in_force(snapshot.runs)
    origins = count_origins(store, snapshot)
    schedule_ids = list(dict.fromkeys(origin.schedule_id for origin in origins))
    return SnapshotFacts(
        dataset=store.uri,
        snapshot=snapshot,
        pairs=pairs,
        in_force=in_force,
        distributions=compute_distributions(pairs, in_force),
        survival=compute_survival(pairs, in_force),
        costs=sum_costs(pairs),
        origins=origins,
        schedules=tuple(find_schedules(schedule_ids, snapshot.runs)),
    )
