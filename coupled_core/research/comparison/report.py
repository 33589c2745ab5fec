"""Everything that people look at, made from the results alone: no model, no accelerator."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from coupled_core.errors import StorageError
from coupled_core.research.comparison.picture import draw_picture, draw_worst
from coupled_core.research.comparison.results import read_results, rows_of
from coupled_core.research.comparison.settings import OURS
from coupled_core.research.comparison.summary import Row, Summary, summarise
from coupled_core.research.comparison.trade_off import draw_trade_off
from coupled_core.research.comparison.tuning import Tuned
from coupled_core.research.evaluation.intervals import Interval
from coupled_core.storage.local import LocalStore

RESULTS = "results.parquet"
FACTS = "comparison.json"
_HEADER = (
    "",
    "background similarity",
    "... clear of the masks",
    "equal pixels",
    "rim seam",
    "told from stock",
    "images right",
    "alignment",
    "combined J",
    "J less {reference}",
    "guarded J less {reference}",
    "a guard fired",
    "entity lost",
    "s a pair",
    "evaluations a pair",
)
NOTE = (
    "Brackets: 95 % bootstrap intervals over groups. Differences are paired by group; bold ones "
    "exclude zero. A guard fires on a pair without images, without an entity in one of them, with "
    "a mask over most of the frame, or whose images hardly differ; guarded J counts such a pair "
    "as its floor. Evaluations are passes of one image through the transformer. Clear of the "
    "masks: 6 % of the side off. Rim seam: levels a pixel by which brightness changes more steeply "
    "around the entities than at the same places of the other image. Told from stock: how often a "
    "classifier tells rings around the entities from those in stock images, held-out groups, 0.5 "
    "by chance. Images right: a classifier apart from the scorers sees the entity and its colour."
)
_AS_IT_IS = (OURS, "")


def write_report(folder: Path) -> dict[str, str]:
    """Draw tables and pictures from the results in a folder; return what was written, by kind.

    Raises:
        StorageError: the folder holds no results.
    """
    results, facts = read_results(folder / RESULTS), read_facts(folder)
    drawn = {
        "table.md": render_report(results, facts),
        "picture.png": draw_picture(results),
        "worst.png": draw_worst(results),
        "trade-off.png": draw_trade_off(results),
        "ablations.md": render_ablations(results),
    }
    store, written = LocalStore(folder), {"results": str(folder / RESULTS)}
    for name, content in drawn.items():
        if content is not None:
            store.write(name, content.encode() if isinstance(content, str) else content)
            written[name.partition(".")[0]] = str(folder / name)
    return written


def render_report(results: pa.Table, facts: Mapping[str, Any]) -> str:
    """Return the comparison as Markdown: the table, the knobs, the conditions."""
    summaries = summarise_comparison(results)
    tuned = [Tuned.from_dict(one) for one in facts["tuned"]]
    pairs = summaries[0].num_pairs
    earlier = facts["settings"].get("knobs")
    where = f", in the comparison of `{earlier}`" if earlier else ""
    return (
        f"# Methods compared\n\n{pairs} pairs of `{facts['prompts']}`, {_describe(facts)}.\n\n"
        f"{render_table(summaries, OURS)}\n{NOTE}\n\n## Knobs\n\n"
        f"Found by CMA-ES on {facts['num_train_samples']} samples of "
        f"`{facts['train_prompts']}`, the same search and at most {facts['sweep_budget']} "
        f"candidates for every method{where}.\n\n"
        f"{render_knobs(tuned)}\n"
        f"Again: `{facts['command']}`\n"
    )


def summarise_comparison(results: pa.Table) -> list[Summary]:
    """Return a summary a method, ours first."""
    return summarise(rows_of(results, "comparison"), (OURS, ""))


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what the results do not say themselves."""
    LocalStore(folder).write(FACTS, json.dumps(facts, indent=2).encode())


def read_facts(folder: Path) -> dict[str, Any]:
    """Read what `write_facts` wrote.

    Raises:
        StorageError: there is nothing, or it is damaged.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"cannot read {folder / FACTS}: {error}; run the comparison into this folder first"
        ) from error
    return facts


def to_plain(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """Return summaries as JSON values."""
    return [asdict(summary) for summary in summaries]


def _describe(facts: Mapping[str, Any]) -> str:
    generation, scoring = facts["conditions"]["generation"], facts["conditions"]["scoring"]
    dtype = f" in {scoring['dtype']}" if "dtype" in scoring else ""
    return (
        f"{generation['num_inference_steps']} steps of `{generation['base_model']}` at "
        f"{generation['width']} x {generation['height']} px on {generation['device_name']}; "
        f"Segment Anything `{scoring['sam_model'][0]}`, CLIP `{scoring['clip_model'][0]}`{dtype}"
    )


def render_table(summaries: Sequence[Summary], reference: str, *, by_variant: bool = False) -> str:
    """Return a table, a row a summary, in their order.

    Args:
        summaries: of one part of the results.
        reference: what differences were taken to, as the header names it.
        by_variant: name rows by variant; else by method.
    """
    header = [title.format(reference=reference) for title in _HEADER]
    header[0] = "variant" if by_variant else "method"
    rows = [_render_row(summary, by_variant) for summary in summaries]
    return _render(header, rows)


def render_knobs(tuned: Sequence[Tuned]) -> str:
    """Return the table of the knobs that the sweeps found."""
    header = ["method", "knobs", "J on training prompts", "at the defaults", "candidates"]
    rows = []
    for one in tuned:
        knobs = [f"{name} {value:.4g} ({one.meanings[name]})" for name, value in one.knobs.items()]
        before = [_number(one.objective), _number(one.default_objective)]
        rows.append([one.method, "; ".join(knobs) or "none", *before, str(one.num_evaluations)])
    return _render(header, rows)


def show_interval(value: Interval | None, digits: int = 3) -> str:
    """Return a mean with its interval, such as 1.250 [1.000, 1.500]; a dash for None."""
    if value is None:
        return "–"
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _render_row(summary: Summary, by_variant: bool) -> list[str]:
    name = (summary.variant or "as it is") if by_variant else summary.method
    return [
        f"**{name}**" if summary.difference is None else name,
        show_interval(summary.background_similarity),
        show_interval(summary.background_similarity_clear),
        "–" if summary.equal is None else f"{summary.equal.mean:.1%}",
        show_interval(summary.rim_seam, 2),
        show_interval(summary.told_from_stock),
        show_interval(summary.right),
        show_interval(summary.alignment, 2),
        show_interval(summary.combined),
        _show_difference(summary.difference),
        _show_difference(summary.guarded_difference),
        f"{summary.guard_share:.1%}",
        f"{summary.lost_share:.1%}",
        f"{summary.seconds:.3f}",
        f"{summary.model_evaluations:.1f}",
    ]


def _show_difference(value: Interval | None) -> str:
    if value is None:
        return "–"
    shown = f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"
    return f"**{shown}**" if value.excludes_zero else shown


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


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
