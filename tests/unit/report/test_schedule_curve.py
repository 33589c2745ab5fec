"""The report's curve is the schedule that the model followed."""

import json
from pathlib import Path

from coupled_core.config import RunConfig
from coupled_core.dataset.snapshot import RunInfo
from coupled_core.report.schedule_curve import find_schedules
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import save_schedule


def _run_with(schedule: Path) -> RunInfo:
    config = RunConfig.model_validate({"generation": {"schedule": str(schedule)}})
    return RunInfo(
        run_id="run",
        config=config.model_dump(mode="json"),
        config_sha256="",
        inputs=(),
        package_version="",
    )


def test_a_schedule_file_of_the_settings_is_found_unless_it_was_changed(tmp_path: Path) -> None:
    schedule = Schedule("step", {"center": 0.3}, "log_bias", "miniature", None, False, "mine")
    save_schedule(schedule, tmp_path / "mine.json")
    curve = find_schedules([schedule.id], [_run_with(tmp_path / "mine.json")])[0]
    assert (curve.betas[0], curve.betas[-1], curve.facts["note"]) == (0.0, 1.0, "mine")
    content = json.loads((tmp_path / "mine.json").read_text())
    content["parameters"]["center"] = 0.9
    (tmp_path / "mine.json").write_text(json.dumps(content))
    changed = find_schedules([schedule.id], [_run_with(tmp_path / "mine.json")])[0]
    assert (changed.betas, dict(changed.facts)) == ((), {})
