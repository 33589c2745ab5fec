"""The query beside a figure finds the numbers of the figure."""

import html
import re
import shlex
from typing import Any

import duckdb
import pytest

from coupled_core.dataset.query import open_query
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.filters import write_extra_scores
from coupled_core.report import queries
from coupled_core.report.profile import DatasetProfile, profile_snapshot
from coupled_core.report.report import make_report
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import SamplePair, commit_pairs, spread_pairs
from tests.unit.flows.cli.invoke import run_json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ObjectStore, Snapshot]:
    """Pairs dropped for several reasons, on a path that a shell would take apart."""
    store = open_store(tmp_path_factory.mktemp("queries") / "my pairs")
    odd = [
        SamplePair(combined=float("-inf")),
        SamplePair(mask_side=0.0, combined=0.3),
        SamplePair(pixel_mse=0.5, variation_kind="pose", background_prompt="it's a swamp"),
    ]
    return store, commit_pairs(store, [*spread_pairs(37), *odd])


@pytest.fixture(scope="module")
def profile(made: tuple[ObjectStore, Snapshot]) -> DatasetProfile:
    """All numbers of the report."""
    return profile_snapshot(*made)


def _ask(made: tuple[ObjectStore, Snapshot], sql: str) -> list[dict[str, Any]]:
    with open_query(*made, sql) as found:
        return found.batches().read_all().to_pylist()


def test_every_query_of_a_page_runs_as_it_stands(made: tuple[ObjectStore, Snapshot]) -> None:
    page = make_report(*made, num_pairs=1).page
    commands = [html.unescape(text) for text in re.findall(r"<pre><code>(.*?)</code>", page)]
    assert len(commands) > 25
    for text in commands:
        program, *words = shlex.split(text)
        assert program == "coupled"
        assert run_json(*words)["rows"]


def test_funnel_reasons_and_breakdown_are_those_of_the_page(
    made: tuple[ObjectStore, Snapshot], profile: DatasetProfile
) -> None:
    funnel = profile.funnel
    (row,) = _ask(made, queries.FUNNEL)
    assert list(row.values()) == [
        funnel.pairs_planned,
        funnel.pairs_generated,
        funnel.pairs_scored,
        funnel.pairs_kept,
    ]
    reasons = {row["reason"]: row["pairs"] for row in _ask(made, queries.REASONS)}
    assert reasons == dict(funnel.dropped_by_reason)
    for column, found in {
        "variation_kind": profile.kinds,
        "background_prompt": profile.backgrounds,
    }.items():
        rows = _ask(made, queries.count_labels(column))
        assert [(row[column], row["scored"], row["kept"]) for row in rows] == [
            (each.label, each.num_scored, each.num_kept) for each in found.shares
        ]


def test_histograms_have_the_bars_of_the_page(
    made: tuple[ObjectStore, Snapshot], profile: DatasetProfile
) -> None:
    assert any(each.is_logarithmic for each in profile.distributions)
    for each in profile.distributions:
        found = {row["bin"]: row for row in _ask(made, queries.count_bins(each))}
        bars = list(zip(each.num_kept, each.num_dropped, strict=True))
        expected = {place: bar for place, bar in enumerate(bars) if any(bar)}
        title = each.metric.title
        assert {k: (r["kept"], r["dropped"]) for k, r in found.items()} == expected, title


def test_thresholds_keep_the_pairs_of_the_page(
    made: tuple[ObjectStore, Snapshot], profile: DatasetProfile
) -> None:
    assert len(profile.survival) > 4
    for curve in profile.survival:
        (row,) = _ask(made, queries.count_kept(curve))
        assert row["kept"] == curve.kept_at(curve.in_force[0]), curve.filter.setting
    for_combined = profile.survival[0]
    at = for_combined.bounds[10]
    sql = queries.count_kept(for_combined).replace("combined >= 1.0", f"combined >= {at!r}")
    assert _ask(made, sql) == [{"kept": for_combined.num_kept[10]}]


@pytest.mark.parametrize(
    "name", ["plain", "it's", "$price", "$.price", "/a/b", "a~b", "0", "*", 'say "x"', "$[0]"]
)
def test_scores_of_other_packages_are_looked_up_by_name(name: str) -> None:
    column = queries._column(name)
    scores = write_extra_scores({name: 1.5, "other": 9.0, "price": 9.0, "b": 9.0})
    sql = f"select {column} from (select ? as extra_scores)"
    assert duckdb.execute(sql, [scores]).fetchall() == [(1.5,)]
