"""What to ask the manifest for each figure of a report: SQL for `coupled query`."""

import math
import shlex
from collections.abc import Sequence

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.filters import NUMBERS, Filter
from coupled_core.report.breakdown import MAX_SHOWN
from coupled_core.report.distributions import Distribution
from coupled_core.report.survival import SurvivalCurve

FUNNEL = (
    "select count(*) filter (where status <> 'quarantined') as planned, "
    "count(image_0_sha256) as generated, count(*) filter (where status = 'ok') as scored, "
    "count(*) filter (where kept) as kept from manifest"
)
REASONS = (
    "select reason, count(*) as pairs from (select unnest(reject_reasons) as reason from manifest) "
    "group by reason order by pairs desc, reason"
)
COSTS = (
    "select sum(gpu_seconds) as gpu_seconds, sum(llm_cost_usd) as llm_cost_usd, "
    "count(*) filter (where kept) as kept from manifest"
)
THROUGHPUT = (
    "select device_name, count(gpu_seconds) as pairs, "
    "3600 * count(gpu_seconds) / sum(gpu_seconds) as pairs_per_hour, "
    "median(gpu_seconds) as median_seconds, quantile_cont(gpu_seconds, 0.95) as p95_seconds "
    "from manifest where device_name is not null group by device_name order by device_name"
)
GALLERY = (
    "select pair_id, kept, combined, prompt_0, prompt_1, reject_reasons from manifest "
    "where status = 'ok' order by combined desc limit 20"
)
OF_ALL_ROWS = {
    "funnel": FUNNEL,
    "reasons": REASONS,
    "costs": COSTS,
    "throughput": THROUGHPUT,
    "gallery": GALLERY,
}
"""The figures that need no column or bound to be filled in, by their names in the page."""


def write_command(dataset: str, snapshot: Snapshot, sql: str) -> str:
    """Return the command line that asks a snapshot."""
    quoted = shlex.quote(sql) if set(sql) & set('"$`\\!') else f'"{sql}"'
    return f"coupled query {shlex.quote(dataset)} --snapshot {snapshot.snapshot_id} {quoted}"


def count_labels(column: str) -> str:
    """Return a query for scored pairs by the values of a column, most dropped pairs first."""
    return (
        f"select {column}, count(*) as scored, count(*) filter (where kept) as kept, "
        f"median(combined) as median_combined from manifest where status = 'ok' "
        f"and {column} is not null group by {column} "
        f"order by count(*) filter (where not kept) desc, scored desc, {column} limit {MAX_SHOWN}"
    )


def count_bins(distribution: Distribution) -> str:
    """Return a query for kept and dropped pairs in each bin, counted from 0."""
    low, high, num_bins = distribution.edges[0], distribution.edges[-1], len(distribution.num_kept)
    place = f"(value - {_real(low)}) / {_real((high - low) / num_bins)}"
    if distribution.is_logarithmic:
        step = math.log(high / low) / num_bins
        place = f"ln(greatest(value, {_real(low)}) / {_real(low)}) / {_real(step)}"
    metric = distribution.metric
    value = _combine(metric.columns, takes_least=metric.takes_least)
    return (
        f"select least(greatest(floor({place}), 0), {num_bins - 1}) as bin, "
        "count(*) filter (where kept) as kept, count(*) filter (where not kept) as dropped "
        f"from (select kept, {value} as value from manifest where status = 'ok') "
        "where not isnan(value) group by bin order by bin"
    )


def count_kept(curve: SurvivalCurve) -> str:
    """Return a query for the pairs that are kept at one bound, to be changed in the text."""
    bound = curve.in_force[0] if curve.in_force else curve.bounds[0]
    return (
        "select count(*) as kept from manifest where review_status = 'keep' and kept or "
        "review_status is distinct from 'keep' and status = 'ok' "
        "and len(reject_reasons) = "
        f"cast(list_contains(reject_reasons, '{curve.filter.reason}') as integer) "
        f"and {_passes(curve.filter, bound)}"
    )


def _passes(filter: Filter, bound: float) -> str:
    side = ">=" if filter.is_minimum else "<="
    conditions = [f"isfinite({_column(name)})" for name in filter.finite_columns]
    for name in filter.columns:
        column = _column(name)
        conditions.append(f"{column} {side} {_real(bound)} and not isnan({column})")
        if filter.zero_fails:
            conditions.append(f"{column} <> 0")
    return " and ".join(conditions)


def _combine(names: Sequence[str], *, takes_least: bool) -> str:
    """Return the least or largest of some columns, null if any is."""
    columns = [_column(name) for name in names]
    if len(columns) == 1:
        return columns[0]
    pick = "least" if takes_least else "greatest"
    missing = " or ".join(f"{column} is null" for column in columns)
    return f"case when {missing} then null else {pick}({', '.join(columns)}) end"


def _column(name: str) -> str:
    if name in NUMBERS:
        return name
    # A JSON pointer: DuckDB would read other texts that begin with $ or / as paths.
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    quoted = pointer.replace("'", "''")
    return f"cast(json_extract_string(extra_scores, '{quoted}') as double)"


def _real(value: float) -> str:
    return repr(float(value))
