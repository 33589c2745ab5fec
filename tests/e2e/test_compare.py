"""`coupled compare` with the shipped miniature: killed, run again, drawn again."""

import json
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from coupled_core.research.comparison.picture import size_of
from tests.coupled_command import Coupled

pytestmark = pytest.mark.timeout(900)
METHODS = ("coupled", "prompt-switch", "random-seed")
ARGUMENTS = ("compare", "--methods", ",".join(METHODS), "--num-groups", "2",
             "--num-inference-steps", "4", "--num-train-groups", "1", "--sweep-budget", "2",
             "--trade-off", "--num-trade-off-points", "2", "--num-extra-groups", "1",
             "--chunk-size", "1", "--output", "results")  # fmt: skip
NUM_CHUNKS = 3 * 2 + 2 + 2 + 1
"""Three methods on two groups; curves of two points and two points and one, on one group."""


@dataclass(frozen=True)
class Comparison:
    """A comparison that was killed once, and the run that finished it."""

    folder: Path
    kept: dict[str, float]
    """Files that the killed run had finished, and when they were written."""
    printed: dict[str, Any]
    """What the second run printed with --json."""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Comparison:
    """Kill a comparison once it has kept two chunks, then run it to its end."""
    folder = tmp_path_factory.mktemp("comparison")
    command = Coupled(folder, {"PREFECT_API_URL": prefect_url})
    process = command.start_warm(*ARGUMENTS, log=folder / "log")
    while process.is_alive() and len(_finished(folder)) < 5:  # three sweeps, two chunks
        time.sleep(0.02)
    process.kill()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, (folder / "log").read_text()
    kept = _finished(folder)
    code, output, errors = command.run(*ARGUMENTS, "--json")
    assert code == 0, errors
    return Comparison(folder, kept, json.loads(output))


def test_what_a_killed_comparison_finished_is_not_done_again(comparison: Comparison) -> None:
    after = _finished(comparison.folder)
    assert comparison.kept.items() <= after.items()
    assert len([name for name in after if name.endswith(".parquet")]) == NUM_CHUNKS


def test_the_results_hold_a_row_a_method_and_pair(comparison: Comparison) -> None:
    rows = pq.read_table(comparison.folder / "results" / "results.parquet").to_pylist()
    compared = [(r["method"], r["group_id"]) for r in rows if r["part"] == "comparison"]
    assert len(compared) == len(set(compared)) == 2 * len(METHODS)
    assert {method for method, _ in compared} == set(METHODS)
    evaluations = {r["method"]: r["model_evaluations"] for r in rows if r["part"] == "comparison"}
    assert evaluations["random-seed"] == 2 * 4
    assert evaluations["prompt-switch"] <= 2 * 4


def test_tables_pictures_and_curves_lie_beside_them(comparison: Comparison) -> None:
    files = comparison.printed["files"]
    assert set(files) == {"results", "table", "picture", "worst", "trade-off"}
    paths = {kind: comparison.folder / path for kind, path in files.items()}
    assert Image.open(paths["picture"]).size == size_of(num_pairs=2, num_methods=3)
    assert Image.open(paths["worst"]).size == size_of(num_pairs=2, num_methods=2)
    assert Image.open(paths["trade-off"]).width > 1000
    table = paths["table"].read_text()
    assert "| **coupled** |" in table
    assert all(f"| {method} |" in table for method in METHODS)


def test_json_gives_every_method_with_its_interval(comparison: Comparison) -> None:
    methods = {one["method"]: one for one in comparison.printed["methods"]}
    assert set(methods) == set(METHODS)
    assert methods["coupled"]["difference"] is None
    difference = methods["random-seed"]["difference"]
    assert difference["low"] <= difference["mean"] <= difference["high"]
    knobs = {one["method"]: one["knobs"] for one in comparison.printed["tuned"]}
    assert set(knobs["prompt-switch"]) == {"switch"}


def test_pictures_are_drawn_again_from_the_results_alone(
    comparison: Comparison, prefect_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "moved"
    folder.mkdir()
    for name in ("results.parquet", "comparison.json"):
        (folder / name).write_bytes((comparison.folder / "results" / name).read_bytes())
    code, _, errors = Coupled(tmp_path).run("compare", "--redraw", "--output", "moved")
    assert code == 0, errors
    for name in ("table.md", "picture.png", "trade-off.png"):
        old = (comparison.folder / "results" / name).read_bytes()
        assert (folder / name).read_bytes() == old


def test_with_the_knobs_that_it_found_everything_is_finished(
    comparison: Comparison, prefect_url: str, tmp_path: Path
) -> None:
    copied = tmp_path / "results"
    shutil.copytree(comparison.folder / "results", copied)
    shutil.rmtree(copied / "tuning")
    before = _finished(tmp_path)
    search = ("--num-train-groups", "--sweep-budget")
    others = [word for at, word in enumerate(ARGUMENTS)
              if word not in search and ARGUMENTS[at - 1] not in search]  # fmt: skip
    command = Coupled(tmp_path, {"PREFECT_API_URL": prefect_url})
    code, output, errors = command.run(*others, "--knobs", "results/comparison.json", "--json")
    assert code == 0, errors
    assert _finished(tmp_path) == before
    printed = json.loads(output)
    assert printed["tuned"] == comparison.printed["tuned"]
    assert printed["methods"] == comparison.printed["methods"]
    assert "--knobs results/comparison.json" in printed["command"]


def _finished(folder: Path) -> dict[str, float]:
    """Return the finished chunks and sweeps, and when they were written."""
    places = [*folder.glob("results/work/*.parquet"), *folder.glob("results/tuning/*.json")]
    return {
        str(path.relative_to(folder)): path.stat().st_mtime
        for path in places
        if not path.name.startswith(".")
    }
