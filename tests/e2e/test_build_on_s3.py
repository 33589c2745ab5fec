"""`coupled build` from and to a real S3 server process."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coupled_core.storage.open_store import open_store
from tests.conftest import S3Server
from tests.coupled_command import SMALL, Coupled, read_rows, write_prompts

pytestmark = pytest.mark.timeout(300)
NewBucket = Callable[[S3Server], str]


def test_a_dataset_on_s3_holds_the_rows_of_a_local_one(
    coupled: Coupled, moto_server: S3Server, new_bucket: NewBucket, undisturbed: Path
) -> None:
    dataset = new_bucket(moto_server)
    _upload_prompts(dataset, undisturbed / "prompts.parquet")
    code, output, errors = coupled.run(*_arguments(dataset), "--json")
    assert code == 0, errors
    assert _without_place(read_rows(dataset)) == _without_place(read_rows(undisturbed / "pairs"))
    assert Path(json.loads(output)["contact_sheet"]).is_file()
    reports = {info.key.rpartition("/")[2] for info in open_store(dataset).list("reports/")}
    assert {"contact-sheet.png", "report.html", "survival.png", "summary.json"} <= reports


def test_a_store_without_conditional_writes_is_refused_before_anything_is_spent(
    coupled: Coupled, rclone_server: S3Server, new_bucket: NewBucket
) -> None:
    dataset = new_bucket(rclone_server)
    _upload_prompts(dataset, write_prompts(coupled.folder / "prompts.parquet"))
    code, _, errors = coupled.run(*_arguments(dataset))
    assert code == 4
    assert "error: " in errors and "--single-writer" in errors.replace(
        "single_writer", "--single-writer"
    )
    assert [info.key for info in open_store(dataset).list("work/")] == []


def _arguments(dataset: str) -> list[str]:
    prompts = dataset.replace("datasets/pairs", "prompts/set.parquet")
    return ["build", "--prompts", prompts, "--output", dataset, *SMALL]


def _upload_prompts(dataset: str, path: Path) -> None:
    open_store(dataset.replace("datasets/pairs", "prompts")).upload_file("set.parquet", path)


def _without_place(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Leave out what names the place of input or output, and the names that follow from it."""
    places = ("source_file", "config_sha256", "run_id", "image_part")
    return [{k: v for k, v in row.items() if k not in places} for row in rows]
