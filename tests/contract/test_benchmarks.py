"""Programs of `infra/benchmarks` at their smallest: they run, and agree with what they measure."""

import importlib
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from infra.benchmarks import commit_growth, growth_curves, image_encodings, peers

FOLDER = Path(growth_curves.__file__).parent
PROGRAMS = [
    each for each in sorted(FOLDER.glob("*.py")) if "build_parser(__doc__)" in each.read_text()
]
KEPT = Path(growth_curves.__file__).parents[1] / "pictures" / "growth-curves.json"


def test_writers_of_others_write_the_same_pairs() -> None:
    found = list(peers.compare_writers(1, num_pairs=3, side_px=16))
    assert len(found) == 3
    assert all(run.wall > 0 for each in found for run in (*each.ours, *each.peer))
    described = json.loads(json.dumps(found[0].describe()))
    assert described["n"] == 1 and described["wall_ratio"]["median"] > 0


def test_a_bare_script_scores_what_our_scorer_does() -> None:
    found = list(peers.compare_scorers(1, sides_px=[64]))
    assert [each.what.rpartition(" / ")[2] for each in found] == ["all masks", "a given point"]


def test_processes_that_commit_side_by_side_lose_no_row() -> None:
    assert growth_curves.measure_processes(2, 2, 3)["wall_seconds"] > 0


def test_growth_is_measured_and_what_is_kept_is_drawn(tmp_path: Path) -> None:
    found = growth_curves.commit_rows(tmp_path, range(2), 3)
    assert found["cpu_seconds"] > 0
    picture = tmp_path / "picture.svg"
    growth_curves.main(["--from", str(KEPT), "--picture", str(picture)])
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert picture.read_text() == KEPT.with_suffix(".svg").read_text()


def test_a_compacted_dataset_is_read_by_fewer_calls() -> None:
    found = commit_growth.measure(6, 1)
    assert found["read_calls"] - found["compacted_read_calls"] == 6


@pytest.mark.parametrize(("kind", "name"), [("png", "png-4"), ("webp", "webp-25-1")])
def test_what_datasets_store_is_among_the_encodings(kind: str, name: str) -> None:
    rows = image_encodings.measure(16, 1, 1)
    assert name in [row["encoding"] for row in rows if row["is_stored"]], kind


@pytest.mark.parametrize("program", PROGRAMS, ids=[each.stem for each in PROGRAMS])
def test_every_program_says_what_it_takes(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", [str(program), "--help"])
    module = importlib.import_module(f"infra.benchmarks.{program.stem}")
    with pytest.raises(SystemExit, match=r"^0$"):
        module.main()
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m infra.benchmarks")
    assert max(map(len, said.splitlines())) <= 80
