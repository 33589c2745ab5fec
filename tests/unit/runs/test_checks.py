"""Each check of `coupled doctor` says ok, or what a build would lack."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError, DatasetError, ModelUnavailableError, StorageError
from coupled_core.generation import budget
from coupled_core.runs import checks as module
from coupled_core.runs.checks import Check, run_checks
from tests.s3_servers import S3Server


def _checks(**sections: Any) -> dict[str, Check]:
    return {check.name: check for check in run_checks(RunConfig.model_validate(sections))}


def test_the_miniature_lacks_nothing(tmp_path: Path) -> None:
    found = _checks(output={"uri": str(tmp_path / "pairs")})
    assert [check.text for check in found.values() if check.error is not None] == []
    assert list(tmp_path.iterdir()) == []


def test_a_package_of_another_version_is_named_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.metadata, "requires", lambda name: ["prefect>=99", "nowhere>1"])
    check = _checks()["packages"]
    assert isinstance(check.error, ConfigError)
    assert "is not >=99, nowhere is missing; type: pip install" in check.text


def test_a_python_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.platform, "python_version", lambda: "3.9.1")
    check = _checks()["python"]
    assert check.error is not None and "Python 3.9.1: expected" in check.text


def test_a_missing_checkpoint_of_segment_anything_is_answered_with_a_download() -> None:
    path = "no-folder/sam_vit_h_4b8939.pth"
    check = _checks(scoring={"sam_model": f"vit_h:{path}"})["scorers"]
    assert isinstance(check.error, ModelUnavailableError)
    assert f"type: curl -Lo {path} https://" in check.text


def test_scorers_in_a_format_that_the_device_does_not_do_are_told() -> None:
    settings = {"scoring": {"dtype": "float16"}, "generation": {"device": "cpu"}}
    check = _checks(**settings)["scorers"]
    assert isinstance(check.error, ConfigError) and "--scoring-dtype float32" in check.text


def test_a_missing_base_model_is_told_once(tmp_path: Path) -> None:
    found = _checks(generation={"base_model": str(tmp_path / "none")})
    wrong = [name for name, check in found.items() if check.error is not None]
    assert wrong == ["base model", "scorers"]  # the miniature's judges do not fit another model


def test_weights_that_are_larger_than_the_device_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "find_memory", lambda device: 1000)
    check = _checks(generation={"device": "cpu"})["device"]
    assert check.error is not None and "No setting makes it fit" in check.text


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(100, 90, 10)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    check = _checks()["disk"]
    assert isinstance(check.error, StorageError) and "10 B free, expected 1 GB" in check.text


def test_a_key_is_needed_only_where_a_language_model_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk ant")
    paid = {"splitter": "anthropic"}
    assert _checks()["language model"].error is None
    bad = _checks(split=paid)["language model"]
    assert bad.error is not None and "ANTHROPIC_API_KEY" in bad.text and "sk ant" not in bad.text
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-made-up")
    assert _checks(split=paid)["language model"].error is None


def test_a_bucket_has_to_honour_conditional_writes(
    moto_server: S3Server, rclone_server: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    for server, is_good in ((moto_server, True), (rclone_server, False)):
        check = _checks(output={"uri": new_bucket(server)})["output"]
        assert (check.error is None) == is_good, check.text
        assert is_good or isinstance(check.error, DatasetError)
