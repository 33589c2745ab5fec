"""`coupled doctor`: a line a check, one document, an exit code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.unit.flows.cli.invoke import run, run_json


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with temporary_settings({PREFECT_API_URL: None}):
        yield


def test_every_check_is_a_line() -> None:
    code, output, _ = run("doctor")
    assert code == 0, output
    lines = output.splitlines()
    assert len(lines) == 10 and all(line.startswith("ok ") for line in lines)
    assert lines[-1].startswith("ok       prefect         no server is named")


def test_json_is_one_document() -> None:
    document = run_json("doctor")
    assert document["ok"] and len(document["checks"]) == 10
    assert {"name", "ok", "text"} == document["checks"][0].keys()


def test_what_a_profile_lacks_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, output, _ = run("doctor", "--profile", "flux-schnell")
    assert code == 3
    assert "missing  scorers" in output and "curl -Lo sam_vit_h_4b8939.pth" in output


def test_a_server_that_does_not_answer_is_missing() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        code, output, _ = run("doctor")
    assert code == 1
    assert "missing  prefect" in output
