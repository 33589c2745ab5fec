"""The ablations as tables: ours taken apart, one subject at a time, and what could not be tried."""

from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa

from coupled_core.comparison.results import rows_of
from coupled_core.comparison.settings import OURS
from coupled_core.comparison.summary import Summary, summarise
from coupled_core.comparison.table import NOTE, render_table

NOT_OFFERED: Mapping[str, str] = {
    "pooled embedding": "interpolated with beta (as it is) against that of the full prompt "
    "throughout",
    "background-entity text attention": "open in double-stream blocks (as it is) against blocked",
    "schedules per block type": "one schedule for all blocks (as it is) against one a block type",
}
"""Ablations that wait for a switch in `generation.sampler.SamplerSettings`. A switch there becomes
a field of `variants.Variant`, handed on in `variants.build_variant`."""
_AS_IT_IS = (OURS, "")


def render_ablations(results: pa.Table) -> str | None:
    """Return a section a subject as Markdown; None: the results hold no ablations.

    Ours as it is heads every table, and every difference is taken to it.
    """
    rows = rows_of(results, "ablation")
    if not rows:
        return None
    first, *others = summarise(rows, _AS_IT_IS)
    by_subject: defaultdict[str, list[Summary]] = defaultdict(list)
    for summary in others:
        by_subject[summary.variant.partition(":")[0]].append(summary)
    sections = [
        f"## {subject.capitalize()}\n\n" + render_table([first, *found], OURS, by_variant=True)
        for subject, found in by_subject.items()
    ]
    missing = "".join(f"* {name}: {what}.\n" for name, what in NOT_OFFERED.items())
    return (
        f"# Ours taken apart\n\n{first.num_pairs} pairs each. {NOTE}\n\n"
        + "\n".join(sections)
        + f"\n## Not tried, because the sampler has no switch for it\n\n{missing}"
    )
