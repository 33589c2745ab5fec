"""Metrics of builds through OpenTelemetry, for whoever collects them.

The API does nothing until somebody sets up a provider. With the extra `otel` and the usual variable
`OTEL_EXPORTER_OTLP_ENDPOINT` that is done here; a process that has one of its own keeps it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics

from coupled_core.runs.steps import ShardResult

_logger = logging.getLogger(__name__)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DEVICE_STEP = "make"
"""The step during which the device is ours; within it, stages run side by side."""


class BuildMetrics:
    """What is counted of a build; every point carries the dataset."""

    def __init__(self, dataset: str) -> None:
        self._where = {"dataset": dataset}
        meter = metrics.get_meter("coupled_images")
        self._seconds = meter.create_histogram(
            "coupled.stage.duration", "s", "Time that a stage took for a shard"
        )
        self._device_seconds = meter.create_counter(
            "coupled.device.time", "s", "Time that shards had a device to themselves"
        )
        self._pairs = meter.create_counter(
            "coupled.pairs", "{pair}", "Pairs by what became of them"
        )
        self._rejections = meter.create_counter(
            "coupled.rejections", "{pair}", "Reasons against pairs"
        )
        self._failures = meter.create_counter("coupled.shards.failed", "{shard}", "Failed shards")
        self._usd = meter.create_counter("coupled.llm.cost", "USD", "Spent on a language model")

    def add_built(self, result: ShardResult) -> None:
        """Count a finished shard."""
        for stage, seconds in result.seconds.items():
            self._seconds.record(seconds, {**self._where, "stage": stage})
        self._device_seconds.add(result.seconds.get(_DEVICE_STEP, 0.0), self._where)
        funnel = result.funnel
        for status, count in (
            ("kept", funnel.pairs_kept),
            ("dropped", funnel.pairs_dropped),
            ("failed", funnel.pairs_failed),
        ):
            self._pairs.add(count, {**self._where, "status": status})
        for reason, count in {**funnel.dropped_by_reason, **funnel.failed_by_reason}.items():
            self._rejections.add(count, {**self._where, "reason": reason})

    def add_failed(self, stage: str | None) -> None:
        """Count a shard that failed."""
        self._failures.add(1, {**self._where, "stage": stage or "unknown"})

    def add_spending(self, usd: float) -> None:
        """Count what a run has paid a language model."""
        self._usd.add(usd, self._where)


@contextmanager
def exported_metrics() -> Iterator[None]:
    """Export what is counted inside if the environment names a collector; never fail over it."""
    provider = _open_provider() if any(map(os.environ.get, _ENDPOINTS)) else None
    try:
        yield
    finally:
        if provider is not None:
            try:
                # Milliseconds. The reader exports once a minute, and a process may end before.
                provider.force_flush(5_000)
            except Exception as error:  # whatever it is: no metric is worth a run
                _logger.warning("metrics could not be exported: %s", error)


def _open_provider() -> Any:
    """Return the provider to flush in the end; None: there is none."""
    known = metrics.get_meter_provider()
    if hasattr(known, "force_flush"):  # somebody has set up one; the API's own does nothing
        return known
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    except ImportError:
        _logger.warning(
            "%s is set, but metrics need the extra: pip install 'coupled-images[otel]'",
            " or ".join(_ENDPOINTS),
        )
        return None
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    # Not the one made above: it can be set only once, and whoever was first counts.
    return metrics.get_meter_provider()
