"""What a backfill would do and cost, partition by partition; nothing is written or spent."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from coupled_core.config import RunConfig
from coupled_core.dataset.reader import current_snapshot
from coupled_core.errors import CoupledError
from coupled_core.runs.backfill import Backfill, BackfillPlan
from coupled_core.runs.forecast import Forecast, forecast_build
from coupled_core.runs.needs import count_stored_images
from coupled_core.runs.partitions import Partition, config_of
from coupled_core.storage.open_store import open_store


@dataclass(frozen=True)
class PartitionForecast:
    """What would be done about a partition; the numbers are 0 where nothing is."""

    partition: str
    outcome: Literal["to build", "skipped", "would fail"]
    why: str = ""
    """Why it is skipped or would fail."""
    groups: int = 0
    pairs: int = 0
    """To make: without those that the dataset holds."""
    usd: float = 0.0
    """At most, for splits by a language model."""
    gpu_hours: float | None = 0.0
    """None: nobody has made pairs with these settings yet."""
    disk_bytes: int = 0
    """As the dataset's pairs take; at most as much as unpacked pixels where there are none yet."""


def forecast_backfill(found: Backfill, plan: BackfillPlan) -> Iterator[PartitionForecast]:
    """Yield a forecast a partition, in order; what would stop one of them is said there."""
    bytes_a_pair = _measure_pair_bytes(plan.config)
    for partition in plan.partitions:
        try:
            yield _forecast(found, partition, plan, bytes_a_pair)
        except CoupledError as error:
            yield PartitionForecast(partition.name, "would fail", str(error))


def _forecast(
    found: Backfill, partition: Partition, plan: BackfillPlan, bytes_a_pair: float | None
) -> PartitionForecast:
    config = plan.config
    if why := found.find_reason_to_skip(partition, config, plan.settings.reprocess):
        return PartitionForecast(partition.name, "skipped", why)
    forecast = forecast_build(config_of(partition, config))
    hours = None if forecast.gpu_seconds is None else forecast.gpu_seconds / 3600
    splits, is_batched = forecast.splits, config.split.transport == "batch"
    return PartitionForecast(
        partition.name,
        "to build",
        groups=forecast.run.num_groups,
        pairs=forecast.pairs_to_make,
        usd=splits.usd_batch if is_batched else splits.usd_online,
        gpu_hours=hours,
        disk_bytes=round(
            forecast.pairs_to_make * (bytes_a_pair or _bound_pair_bytes(forecast, config))
        ),
    )


def _measure_pair_bytes(config: RunConfig) -> float | None:
    """Return what a pair of the dataset takes, kept or not; None: there is none."""
    snapshot = current_snapshot(open_store(config.output.uri))
    parts = snapshot.parts if snapshot else ()
    num_pairs = sum(part.num_rows for part in parts if part.kind == "manifest")
    return sum(part.size_bytes for part in parts) / num_pairs if num_pairs else None


def _bound_pair_bytes(forecast: Forecast, config: RunConfig) -> int:
    num_channels = 3  # of a byte each
    made = forecast.run.generation
    return count_stored_images(config) * num_channels * made.width * made.height
