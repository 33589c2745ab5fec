"""`coupled backfill` on partitions of two groups: built, done, failed, tried again."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.coupled_command import SMALL, Coupled, read_rows, write_prompts
from tests.e2e.test_build_with_llm import START, with_server
from tests.messages_server.fixture import start_messages_server  # noqa: F401

pytestmark = pytest.mark.timeout(600)
ARGUMENTS = ("--prompts", "sets", "--output", "pairs", "--by", "date", *SMALL, "--json")


def _run(coupled: Coupled, *arguments: str, expects: int = 0) -> dict[str, dict[str, Any]]:
    code, output, errors = coupled.run("backfill", *arguments)
    assert code == expects, errors
    return {row["partition"]: row for row in json.loads(output)["partitions"]}


def _outcomes(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["outcome"] for name, row in rows.items()}


def _partition(folder: Path, day: int) -> Path:
    path = folder / f"sets/date=2026-11-0{day}/set.parquet"
    path.parent.mkdir(parents=True)
    return path


def test_partitions_are_built_side_by_side_and_then_only_what_failed(coupled: Coupled) -> None:
    first, second = (_partition(coupled.folder, day) for day in (1, 2))
    write_prompts(first, 2)
    second.write_bytes(b"no parquet")
    days = ("2026-11-01", "2026-11-02")

    built = _run(coupled, "autumn", *ARGUMENTS, "--max-parallel", "2", expects=5)
    assert _outcomes(built) == dict(zip(days, ("built", "failed"), strict=True))
    rows = read_rows(coupled.folder / "pairs")

    again = _run(coupled, "autumn", *ARGUMENTS)
    assert set(_outcomes(again).values()) == {"skipped"}
    assert "same input and settings" in again[days[0]]["why"]
    assert "retry-failed" in again[days[1]]["why"]

    write_prompts(second, 3)
    retried = _run(coupled, "retry-failed", "autumn", "--dataset", "pairs", "--json")
    assert _outcomes(retried) == dict(zip(days, ("skipped", "built"), strict=True))
    assert len(read_rows(coupled.folder / "pairs")) > len(rows)


def test_a_refused_key_stops_at_the_first_partition_and_blames_none(
    coupled: Coupled,
    start_messages_server: START,  # noqa: F811
) -> None:
    for day in (1, 2, 3):
        write_prompts(_partition(coupled.folder, day), 2)
    error = {"type": "error", "error": {"type": "authentication_error", "message": "bad key"}}
    server = start_messages_server(raw={"messages": {"status": 401, "body": json.dumps(error)}})
    command = with_server(coupled, server)
    code, _, errors = command.run(
        "backfill", "winter", *ARGUMENTS, "--no-cap", "--splitter", "anthropic"
    )
    assert code == 6, errors
    assert "check ANTHROPIC_API_KEY" in errors
    assert "2026-11-02" not in errors
    status = _run(command, "status", "winter", "--dataset", "pairs", "--json")
    assert set(_outcomes(status).values()) == {"open"}
    assert not list(coupled.folder.rglob("backfills/winter/partitions/*"))
