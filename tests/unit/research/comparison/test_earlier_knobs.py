"""Knobs of an earlier comparison are taken as they are, and refused where they do not fit."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from coupled_core.errors import ConfigError
from coupled_core.research.comparison.run import ComparisonRun
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.comparison.tuning import EarlierSearch, Tuned
from coupled_core.research.comparison.variants import SIZE_KNOB
from coupled_core.research.methods.method import Knob
from tests.unit.research.comparison.drawn_method import DRIFT, DrawnMethod

SWITCH = Knob("switch", 0.0, 1.0, 0.1)
FOUND = Tuned("prompt-switch", {"switch": 0.3}, 4.5, 4.0, 2, SWITCH, {"switch": "share"})
OURS = Tuned("coupled", {}, None, None, 0, None, {})
SEARCH = {"train_prompts": "miniature-train", "num_train_groups": 2, "sweep_budget": 7,
          "sweep_seed": 3}  # fmt: skip


def _write(folder: Path, *tuned: Tuned, model: str = "miniature", **search: Any) -> Path:
    path = folder / "earlier.json"
    facts = {
        "tuned": [asdict(one) for one in tuned],
        "settings": {**SEARCH, **search},
        "conditions": {"generation": {"base_model": model, "base_model_revision": "other"}},
    }
    path.write_text(json.dumps(facts))
    return path


def _settings(folder: Path, path: Path) -> CompareSettings:
    return CompareSettings(
        methods=("prompt-switch",), num_groups=1, knobs=str(path), output=str(folder / "out")
    )


def test_a_comparison_takes_the_knobs_and_says_how_they_were_searched(tmp_path: Path) -> None:
    run = ComparisonRun(_settings(tmp_path, _write(tmp_path, OURS, FOUND)))
    assert run.tuning.read("prompt-switch") == FOUND
    assert {name: getattr(run.settings, name) for name in SEARCH} == SEARCH
    assert len(run.train_samples) == 2


def test_the_curve_of_ours_follows_what_our_schedule_is_varied_by_today(tmp_path: Path) -> None:
    run = ComparisonRun(_settings(tmp_path, _write(tmp_path, OURS, FOUND)))
    ours = run.tuning.read("coupled")
    assert ours is not None
    assert ours.main_knob == SIZE_KNOB


def test_knobs_are_not_judged_on_the_prompts_that_they_were_found_on(tmp_path: Path) -> None:
    path = _write(tmp_path, OURS, FOUND, train_prompts="miniature-test")
    with pytest.raises(ConfigError, match="would be tuned and judged on"):
        ComparisonRun(_settings(tmp_path, path))


def test_knobs_of_another_model_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, OURS, FOUND, model="black-forest-labs/FLUX.1-dev")
    with pytest.raises(ConfigError, match=r"on black-forest-labs/FLUX\.1-dev, .* on miniature"):
        ComparisonRun(_settings(tmp_path, path))


def test_a_method_whose_knobs_are_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no knobs of prompt-switch, only of coupled"):
        ComparisonRun(_settings(tmp_path, _write(tmp_path, OURS)))


@pytest.mark.parametrize("content", [None, "{", "[]", '{"tuned": [{"method": "p2p"}]}'])
def test_what_is_not_a_comparison_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"expected the comparison\.json .*other\.json cannot"):
        EarlierSearch.read(path, ["p2p"])


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"drift": 0.2, "drizzle": 1.0}, r"expects the knobs \['drift'\]; got .*drizzle"),
        ({}, r"expects the knobs \['drift'\]; got \[\]"),
        ({"drift": 1.5}, r"expects drift in \[0\.0, 1\.0\]; got 1\.5"),
    ],
)
def test_knobs_that_a_method_has_no_use_for_are_refused(
    tmp_path: Path, knobs: dict[str, float], expected: str
) -> None:
    path = _write(tmp_path, Tuned("coupled", knobs, 1.0, 1.0, 2, DRIFT, {}))
    earlier = EarlierSearch.read(path, ["coupled"])
    with pytest.raises(ConfigError, match=f"earlier.json: coupled {expected}"):
        earlier.check({"coupled": DrawnMethod()})


def test_knobs_that_fit_pass(tmp_path: Path) -> None:
    path = _write(tmp_path, Tuned("coupled", {"drift": 0.2}, 1.0, 1.0, 2, DRIFT, {}))
    EarlierSearch.read(path, ["coupled"]).check({"coupled": DrawnMethod()})
