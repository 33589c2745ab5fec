"""What is shown in Prefect: safe to read, and never worth a run."""

import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from coupled_core.progress import SilentProgress
from tasks.announce import ShownProgress, courtesy, describe_summary, name_of, show_table
from tests.unit.runs.test_summary import SUMMARY


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("s3://bucket/sets/pairs", "pairs"), ("/data/pairs/", "pairs"), ("s3://bucket", "bucket")],
)
def test_a_dataset_is_called_by_the_end_of_its_location(dataset: str, name: str) -> None:
    assert name_of(dataset) == name


def test_a_summary_says_what_came_out_and_which_shards_are_missing() -> None:
    text = describe_summary(SUMMARY, 60.0)
    assert "# Run run" in text
    assert "| 00001 | StorageError: disk full |" in text


def test_a_summary_without_a_snapshot_names_no_place_of_one() -> None:
    assert SUMMARY.snapshot_id is None
    assert "None" not in describe_summary(SUMMARY, 60.0)
    text = describe_summary(replace(SUMMARY, snapshot_id="state"), 60.0)
    assert "pairs/snapshots/state.json" in text and "pairs/reports/state/report.html" in text


def test_nothing_that_an_error_quotes_becomes_markup() -> None:
    evil = "a <script>alert(1)</script> | [x](javascript:y) `code` ![](http://there)\n# title"
    text = describe_summary(replace(SUMMARY, failed_shards={1: evil}, stopped=evil), 60.0)
    for markup in ("<script", "[x](", "![](", "\n# title", " | [", "`code`"):
        assert markup not in text


def test_what_cannot_be_shown_costs_a_warning_and_not_the_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "planted-token")

    @courtesy
    def show() -> None:
        raise OSError("the server is gone, says planted-token")

    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        show()
    assert caplog.messages == ["cannot show it in Prefect: the server is gone, says [redacted]"]


class _Overloaded(BaseHTTPRequestHandler):
    """Answers as a server that is starting, or behind a proxy, does."""

    def do_GET(self) -> None:
        self.send_error(404 if "csrf" in self.path else 503)

    do_POST = do_GET  # noqa: N815  # the library's name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.filterwarnings("ignore:Artifact creation outside")
def test_a_server_that_is_away_does_not_hold_the_build_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown = ShownProgress(SilentProgress(), "pairs")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Overloaded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        begun_at = time.monotonic()
        with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True, PREFECT_API_URL: url}):
            shown.show()
        took = time.monotonic() - begun_at
        server.shutdown()
    assert any("503" in each for each in caplog.messages)
    assert took < 20, "with Prefect's retries it takes a minute"


def test_a_temporary_server_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        show_table("verification", {"rows": 2}, "pairs")
    assert caplog.records == []
