import json
from pathlib import Path

import pytest
import torch

from coupled_core.errors import ScheduleError
from coupled_core.schedules.schedule import RegionSettings
from coupled_core.schedules.schedule_file import (
    SHIPPED_FOLDER,
    load_schedule,
    load_shipped_schedule,
    save_schedule,
)
from tests.unit.schedules.test_schedule import PARAMETERS, build


@pytest.mark.parametrize("family", PARAMETERS)
def test_a_saved_schedule_loads_as_it_was(tmp_path: Path, family: str) -> None:
    schedule = build(family, num_inference_steps=20, shift=0.5, optimised=True)
    save_schedule(schedule, tmp_path / "schedule.json")
    loaded = load_schedule(tmp_path / "schedule.json")
    assert loaded == schedule
    assert loaded.id == schedule.id


def change(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    for name, value in changes.items():
        content[name] = value
    path.write_text(json.dumps({k: v for k, v in content.items() if v != "remove"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"center": 0.2, "width": 0.2}}, "does not match the id: expected"),
        ({"id": "remove"}, "does not match the id: expected .* got None"),
        ({"note": "remove"}, r"missing fields \['note'\]"),
        ({"centre": 0.2}, r"unknown fields \['centre'\]"),
        ({"optimised": "no"}, "optimised expects bool; got 'no'"),
        ({"num_inference_steps": True}, "num_inference_steps expects int or null; got True"),
        ({"mode": "additive"}, "unknown coupling mode 'additive'"),
        ({"parameters": {"center": 0.2, "width": 0}}, "width must be above 0"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_path_and_the_reason(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "mine.json"
    save_schedule(build("sine"), path)
    change(path, **changes)
    with pytest.raises(ScheduleError, match=rf"mine\.json: .*{message}"):
        load_schedule(path)


def test_a_missing_file_and_a_file_that_is_not_json_say_so(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="cannot be read: No such file"):
        load_schedule(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("beta = 1")
    with pytest.raises(ScheduleError, match="expected JSON"):
        load_schedule(tmp_path / "text.json")


@pytest.mark.parametrize("path", sorted(SHIPPED_FOLDER.glob("*.json")), ids=lambda p: p.stem)
def test_shipped_schedules_load_and_reach_both_ends(path: Path) -> None:
    schedule = load_schedule(path)
    # In mode region space may hold the background from the first step on.
    first = schedule.beta(torch.tensor(1.0)).item() if schedule.mode == "region" else 0.0
    assert schedule.beta(torch.tensor([1.0, 0.0])).tolist() == [first, 1.0]
    assert schedule.optimised or "not optimised" in schedule.note


def test_shipped_schedules_are_found_by_model_and_mode() -> None:
    for name in ("miniature", "flux-dev", "flux-schnell"):
        assert load_shipped_schedule(name, "log_bias").mode == "log_bias"
    assert load_shipped_schedule("miniature", "key_scale").mode == "key_scale"
    with pytest.raises(
        ScheduleError, match="no schedule is shipped for flux-dev in mode key_scale"
    ):
        load_shipped_schedule("flux-dev", "key_scale")


def test_how_a_schedule_was_fitted_travels_along_and_changes_no_id(tmp_path: Path) -> None:
    bare, path = build("sine"), tmp_path / "fitted.json"
    fitted = build("sine", fit={"train": {"mean": 1.5, "count": 3}, "history": [0.1, 0.2]})
    save_schedule(fitted, path)
    assert load_schedule(path) == fitted
    assert fitted.id == bare.id
    change(path, fit=[1, 2])
    with pytest.raises(ScheduleError, match=r"fit expects dict; got \[1, 2\]"):
        load_schedule(path)


def test_a_region_is_saved_and_read_with_the_schedule(tmp_path: Path) -> None:
    schedule = build("step", mode="region", region=RegionSettings(size=0.12, margin=0.2))
    save_schedule(schedule, tmp_path / "schedule.json")
    assert load_schedule(tmp_path / "schedule.json") == schedule
    other = build("step", mode="region", region=RegionSettings(size=0.13, margin=0.2))
    assert other.id != schedule.id


def test_a_region_from_before_there_were_mattes_has_none(tmp_path: Path) -> None:
    schedule = build("step", mode="region", region=RegionSettings(matte=0.0))
    save_schedule(schedule, tmp_path / "schedule.json")
    assert "matte" not in (tmp_path / "schedule.json").read_text()
    assert load_schedule(tmp_path / "schedule.json") == schedule
    assert build("step", mode="region", region=RegionSettings()).id != schedule.id


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"size": 0.0}, "size must be above 0"),
        ({"margin": -0.1}, r"margin must lie in \[0, 1\]; got -0.1"),
        ({"feather": "wide"}, "feather expects a number; got 'wide'"),
        ({"radius": 0.1}, "unexpected keyword argument 'radius'"),
    ],
)
def test_region_settings_that_make_no_sense_are_refused(
    tmp_path: Path, region: dict[str, object], message: str
) -> None:
    path = tmp_path / "schedule.json"
    save_schedule(build("step", mode="region", region=RegionSettings()), path)
    change(path, region=region)
    with pytest.raises(ScheduleError, match=message):
        load_schedule(path)


def test_region_settings_belong_to_mode_region_alone() -> None:
    with pytest.raises(ScheduleError, match="mode region needs region settings"):
        build("step", mode="region")
    with pytest.raises(ScheduleError, match="others have none"):
        build("step", mode="log_bias", region=RegionSettings())
