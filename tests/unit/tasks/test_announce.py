"""What is shown in Prefect: safe to read, and never worth a run."""

from dataclasses import replace

import pytest
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from tasks.announce import courtesy, describe_summary, name_of, show_table
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


def test_a_temporary_server_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        show_table("verification", {"rows": 2}, "pairs")
    assert caplog.records == []
