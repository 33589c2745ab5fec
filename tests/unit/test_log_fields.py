"""Fields of log records: said once around the work, on every line below."""

import logging

import pytest

from coupled_core.log_fields import AddFields, FieldFormatter, log_fields


@pytest.fixture
def record() -> logging.LogRecord:
    return logging.LogRecord("coupled_core.runs", logging.INFO, "", 0, "wrote %s", ("a",), None)


def test_a_record_carries_the_fields_around_it(record: logging.LogRecord) -> None:
    with log_fields(run_id="abc"), log_fields(shard="00017", stage="score"):
        assert AddFields().filter(record)
    assert (vars(record)["run_id"], vars(record)["shard"]) == ("abc", "00017")
    assert FieldFormatter("%(message)s").format(record) == (
        "wrote a run_id=abc shard=00017 stage=score"
    )


def test_outside_there_are_none(record: logging.LogRecord) -> None:
    AddFields().filter(record)
    assert vars(record)["shard"] == ""
    assert FieldFormatter("%(message)s").format(record) == "wrote a"


def test_what_the_caller_says_of_a_line_stays(record: logging.LogRecord) -> None:
    record.pair_id = "p"
    with log_fields(pair_id="other"):
        AddFields().filter(record)
    assert vars(record)["pair_id"] == "p"
