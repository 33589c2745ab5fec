"""Everything that people look at, made from the results alone: no model, no accelerator."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from coupled_core.errors import StorageError
from coupled_core.research.comparison.picture import draw_picture
from coupled_core.research.comparison.results import read_results, rows_of
from coupled_core.research.comparison.settings import OURS
from coupled_core.research.comparison.summary import Summary, summarise
from coupled_core.research.comparison.tables import (
    NOTE,
    render_ablations,
    render_knobs,
    render_table,
)
from coupled_core.research.comparison.trade_off import draw_trade_off
from coupled_core.research.comparison.tuning import Tuned
from coupled_core.storage.local import LocalStore

RESULTS = "results.parquet"
FACTS = "comparison.json"


def write_report(folder: Path) -> dict[str, str]:
    """Draw tables and pictures from the results in a folder; return what was written, by kind.

    Raises:
        StorageError: the folder holds no results.
    """
    results, facts = read_results(folder / RESULTS), read_facts(folder)
    drawn = {
        "table.md": render_report(results, facts),
        "picture.png": draw_picture(results),
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
    return (
        f"# Methods compared\n\n{pairs} pairs of `{facts['prompts']}`, {_describe(facts)}.\n\n"
        f"{render_table(summaries, OURS)}\n{NOTE}\n\n## Knobs\n\n"
        f"Found by CMA-ES on {facts['num_train_samples']} samples of `{facts['train_prompts']}`, "
        f"the same search and at most {facts['sweep_budget']} candidates for every method.\n\n"
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
    return (
        f"{generation['num_inference_steps']} steps of `{generation['base_model']}` at "
        f"{generation['width']} x {generation['height']} px on {generation['device_name']}; "
        f"Segment Anything `{scoring['sam_model'][0]}`, CLIP `{scoring['clip_model'][0]}`"
    )
