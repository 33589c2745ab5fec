"""The report of a snapshot: one page for people, with everything in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coupled_core.dataset.own_keys import REPORT_FOLDER
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.documents import parse_json
from coupled_core.report import queries
from coupled_core.report.charts import draw_histogram, draw_schedule, draw_survival
from coupled_core.report.gallery import make_gallery
from coupled_core.report.page import render_page
from coupled_core.report.pair_images import ShardWorks, iter_pair_images
from coupled_core.report.profile import DatasetProfile, profile_snapshot, survival_to_dict
from coupled_core.report.selection import ChosenPair, choose_pairs, find_showable, read_chosen
from coupled_core.report.survival import draw_survival_picture
from coupled_core.storage.store import ObjectStore

MAX_PAGE_BYTES = 5_000_000
MAX_PAIRS = 1000
DEFAULT_PAIRS = 240
_RESERVE_BYTES = 60_000
"""For all that is neither gallery nor measured before it."""


@dataclass(frozen=True)
class Report:
    """A finished report."""

    page: str
    """HTML."""
    survival_picture: bytes
    """PNG."""
    summary: dict[str, Any]
    """The numbers, as they stand in JSON."""
    num_shown: int
    """Pairs on the page."""


def make_report(store: ObjectStore, snapshot: Snapshot, num_pairs: int = DEFAULT_PAIRS) -> Report:
    """Make the report of a snapshot.

    Args:
        num_pairs: Most pairs to show, up to `MAX_PAIRS`; the page stays below `MAX_PAGE_BYTES`.

    Raises:
        DatasetError: a part is missing or damaged.
    """
    profile = profile_snapshot(store, snapshot)
    works = ShardWorks(store)
    shown = _choose(store, profile, works, num_pairs)
    values = _page_values(profile)
    # Rendered without pairs first: thumbnails get what the rest leaves of the page.
    bare = _render(values, {"columns": [], "scores": [], "rows": []})
    room = MAX_PAGE_BYTES - _RESERVE_BYTES - len(bare.encode())
    images = iter_pair_images(store, [pair.row for pair in shown], works)
    gallery = make_gallery(shown, images, room)
    return Report(
        page=_render(values, gallery),
        survival_picture=draw_survival_picture(profile.survival, profile.funnel.pairs_scored),
        summary=profile.to_dict(),
        num_shown=len(shown),
    )


def _choose(
    store: ObjectStore, profile: DatasetProfile, works: ShardWorks, num_pairs: int
) -> list[ChosenPair]:
    is_showable = find_showable(profile.pairs, profile.snapshot, works.has)
    bounds = profile.in_force["min_combined"]
    chosen = choose_pairs(profile.pairs, is_showable, bounds[-1] if bounds else None, num_pairs)
    return read_chosen(store, profile.snapshot, chosen)


def _page_values(profile: DatasetProfile) -> dict[str, Any]:
    num_scored = profile.funnel.pairs_scored

    def ask(sql: str) -> str:
        return queries.write_command(profile.dataset, profile.snapshot, sql)

    return {
        "profile": profile,
        "funnel": profile.funnel,
        "name": profile.dataset.rstrip("/").rpartition("/")[2] or profile.dataset,
        "dropped": _sort_reasons(profile.funnel.dropped_by_reason),
        "failed": _sort_reasons(profile.funnel.failed_by_reason),
        "histograms": [
            (draw_histogram(each), ask(queries.count_bins(each))) for each in profile.distributions
        ],
        "survival": [
            (curve, draw_survival(curve, num_scored), ask(queries.count_kept(curve)))
            for curve in profile.survival
        ],
        "breakdowns": [
            ("What varies", profile.kinds, ask(queries.count_labels("variation_kind"))),
            ("Backgrounds", profile.backgrounds, ask(queries.count_labels("background_prompt"))),
        ],
        "has_large_groups": bool((profile.pairs.last_image > 1).any()),
        "ask": {name: ask(sql) for name, sql in queries.OF_ALL_ROWS.items()},
        "survival_data": survival_to_dict(profile.survival),
        "schedules": [
            (curve, draw_schedule(curve) if curve.sigmas else None) for curve in profile.schedules
        ],
        "total_bytes": sum(part.size_bytes for part in profile.snapshot.parts),
    }


def _sort_reasons(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return reasons and how many pairs have them, the most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _render(values: dict[str, Any], gallery: dict[str, Any]) -> str:
    return render_page(
        "report.html",
        ("base.css", "report.css"),
        ("theme.js", "pairs.js", "report.js"),
        {**values, "gallery": gallery},
    )


def report_key(snapshot_id: str, name: str) -> str:
    """Return where a file of a report stands: report.html, survival.png or summary.json."""
    return f"{REPORT_FOLDER}{snapshot_id}/{name}"


def store_report(store: ObjectStore, snapshot_id: str, report: Report) -> None:
    """Put a report beside its snapshot."""
    store.write(report_key(snapshot_id, "report.html"), report.page.encode())
    store.write(report_key(snapshot_id, "survival.png"), report.survival_picture)
    summary = json.dumps(report.summary, indent=1, sort_keys=True)
    store.write(report_key(snapshot_id, "summary.json"), summary.encode())


def read_summary(store: ObjectStore, snapshot_id: str) -> dict[str, Any] | None:
    """Return the numbers of a stored report; None: there is none."""
    key = report_key(snapshot_id, "summary.json")
    if not store.exists(key):
        return None
    summary: dict[str, Any] = parse_json(store.read(key))
    return summary
