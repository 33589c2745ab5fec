"""`coupled verify` on whole and damaged datasets."""

import json
from pathlib import Path

from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.local import LocalStore
from tests.unit.flows.cli.invoke import run, run_json


def test_verify_names_damage_and_exits_with_4(dataset: str) -> None:
    assert run_json("verify", "--dataset", dataset)["is_whole"]
    assert "is whole" in run("verify", "--dataset", dataset)[1]
    store = LocalStore(Path(dataset))
    snapshot = current_snapshot(store)
    assert snapshot is not None
    part = snapshot.parts_of("images")[0]
    store.delete(part.key)
    code, output, errors = run("verify", "--dataset", dataset, "--json")
    assert code == 4
    assert errors.splitlines()[-1].startswith("error: snapshot")
    assert json.loads(output)["damage"][0]["part"] == part.key


def test_an_empty_folder_is_one_line_and_code_4(tmp_path: Path) -> None:
    code, output, errors = run("verify", "--dataset", str(tmp_path))
    assert (code, output, errors.count("\n")) == (4, "", 1)
