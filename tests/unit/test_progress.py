import logging
import time

import pytest

from coupled_core.progress import LogProgress, StagePace, current_progress, report_to


def test_a_listener_hears_what_runs_inside_and_nothing_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "coupled_core.progress")
    with report_to(LogProgress()):
        current_progress().begin("generate", 4)
        current_progress().advance("generate", 1)
        current_progress().advance("generate", 1)  # too soon for another line
        current_progress().advance("generate", 2)
    current_progress().advance("generate", 4)
    assert [message.split(",")[0] for message in caplog.messages] == [
        "generate: 1 of 4",
        "generate: 4 of 4",
    ]


def test_progress_by_nothing_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coupled_core.progress")
    listener = LogProgress()
    listener.begin("shards", 3)
    listener.advance("shards", 0)
    assert caplog.messages == []


def test_a_remark_stands_behind_the_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coupled_core.progress")
    listener = LogProgress()
    listener.begin("evaluations", 2)
    listener.remark("evaluations", "best J 4.21")
    listener.advance("evaluations", 2)
    assert caplog.messages[0].startswith("evaluations: 2 of 2")
    assert caplog.messages[0].endswith("best J 4.21")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that `StagePace` sees, in seconds; tests move it."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_part_of_a_piece_gives_a_rate_before_the_first_is_done(clock: list[float]) -> None:
    pace = StagePace()
    pace.total = 10
    clock[0] = 100.0  # loading
    pace.reach(0.0)
    assert pace.describe() == []
    clock[0] = 110.0
    pace.reach(0.5)
    assert pace.describe() == ["3.0/min", "3 min left"]


def test_the_first_step_starts_the_clock_where_nobody_said_that_work_begins(
    clock: list[float],
) -> None:
    pace = StagePace()
    pace.total = 1
    clock[0] = 50.0
    pace.reach(0.25)
    assert pace.describe() == []
    clock[0] = 60.0
    pace.reach(0.5)
    assert pace.describe() == ["1.5/min", "20 s left"]


def test_what_an_earlier_start_has_done_is_done_and_not_fast(clock: list[float]) -> None:
    pace = StagePace()
    pace.total = 100
    pace.advance(90, is_new=False)
    assert (pace.reached, pace.rate) == (90, None)
    pace.reach(0.0)
    clock[0] = 10.0
    pace.advance(5)
    assert pace.describe() == ["30.0/min", "10 s left"]


def test_a_stage_that_is_done_has_nothing_left(clock: list[float]) -> None:
    pace = StagePace()
    pace.total = 2
    clock[0] = 1.0
    pace.advance(2)
    assert pace.describe() == ["2.0/s"]


def test_the_first_word_about_a_piece_is_a_line_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coupled_core.progress")
    listener = LogProgress()
    listener.begin("generate", 4)
    listener.within("generate", 0.0, "batch 1 of 2, reading prompts")
    assert caplog.messages == ["generate: 0 of 4, batch 1 of 2, reading prompts"]
