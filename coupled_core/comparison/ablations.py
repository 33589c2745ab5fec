"""The ablations as tables: ours taken apart, one subject at a time."""

from collections.abc import Sequence

import pyarrow as pa

from coupled_core.comparison.results import rows_of
from coupled_core.comparison.settings import OURS
from coupled_core.comparison.summary import Row, summarise
from coupled_core.comparison.table import NOTE, render_table

_AS_IT_IS = (OURS, "")


def render_ablations(results: pa.Table) -> str | None:
    """Return a section a subject as Markdown; None: the results hold no ablations.

    What a subject is held against heads its table, and every difference is taken to it: ours as it
    is, or, for a subject that ends in ", in MODE", ours in that mode.
    """
    rows = rows_of(results, "ablation")
    if not rows:
        return None
    variants = dict.fromkeys(row["variant"] for row in rows)
    subjects = dict.fromkeys(name.partition(":")[0] for name in variants if name)
    sections = [_render_subject(subject, rows) for subject in subjects]
    num_pairs = sum(row["variant"] == "" for row in rows)
    return f"# Ours taken apart\n\n{num_pairs} pairs each. {NOTE}\n\n" + "\n".join(sections)


def _render_subject(subject: str, rows: Sequence[Row]) -> str:
    _, _, mode = subject.partition(", in ")
    reference = (OURS, f"mode: {mode}") if mode else _AS_IT_IS
    own = [
        row
        for row in rows
        if row["variant"].partition(":")[0] == subject or row["variant"] == reference[1]
    ]
    name = f"{OURS} in {mode}" if mode else OURS
    table = render_table(summarise(own, reference), name, by_variant=True)
    return f"## {subject.capitalize()}\n\n{table}"
