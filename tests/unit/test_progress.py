import logging

import pytest

from coupled_core.progress import LogProgress, current_progress, report_to


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
