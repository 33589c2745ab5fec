"""The recipes in the exports' README run as they stand there, and find what is in the dataset."""

import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from coupled_core.storage.local import LocalStore
from tests.coupled_command import ROOT
from tests.unit.export.export_samples import commit_pairs

README = ROOT / "coupled_core" / "export" / "README.md"


def _recipes() -> dict[str, str]:
    """Return the code blocks by the heading above them; "" is the one that finds the parts."""
    text = README.read_text(encoding="utf-8").split("\n## Recipes\n", 1)[1]
    sections = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    bodies = dict(zip(["", *sections[1::2]], sections[::2], strict=True))
    blocks = {
        name: re.findall(r"```python\n(.*?)```", body, re.DOTALL) for name, body in bodies.items()
    }
    # The commands of the first section are not Python; the test of the pages parses them.
    return {name: "\n".join(found) for name, found in blocks.items() if name != "The command line"}


def _run(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for recipe in ("", name):
        exec(compile(_recipes()[recipe], f"{README}: {recipe}", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset where the recipes look for it: ten kept pairs and six others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    commit_pairs(LocalStore(tmp_path / "coupled-dataset"))


def test_there_is_a_recipe_for_each_reader() -> None:
    assert _recipes().keys() == {"", "DuckDB", "Polars", "pandas", "datasets", "pyarrow", "Spark"}
    assert all(_recipes().values())


def test_duckdb_counts_reasons_and_joins_images() -> None:
    names = _run("DuckDB")
    assert dict(names["reasons"]) == {
        "below_min_combined": 2,
        "invalid_input": 2,
        "mask_too_large": 2,
        "split_failed": 2,
    }
    assert len(names["best"]) == 10
    assert all(num_bytes > 0 for *_, num_bytes in names["best"])


def test_pandas_finds_the_best_kept_pairs() -> None:
    found = _run("pandas")["best_rows"]
    assert len(found) == 5 and found["kept"].all()


def test_datasets_decodes_the_images_of_kept_pairs() -> None:
    names = _run("datasets")
    assert len(names["with_pictures"]) == 10 and names["first_picture"].size == (16, 16)


def _run_block(path: Path) -> dict[str, Any]:
    """Run the only Python of a page."""
    [block] = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, str(path), "exec"), names)
    return names


def test_the_block_of_the_first_page_saves_the_images_of_kept_pairs() -> None:
    _run_block(ROOT / "README.md")
    saved = list(Path().glob("*.png"))
    assert len(saved) == 10
    assert {Image.open(path).size for path in saved} == {(16, 16)}


def test_the_block_of_the_datasets_page_counts_rows_and_opens_an_image(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = _run_block(ROOT / "coupled_core" / "dataset" / "README.md")
    assert "true" in capsys.readouterr().out
    assert names["pairs"][0]["image_0"].size == (16, 16)


def test_polars_groups_kept_pairs_and_reads_images() -> None:
    names = _run("Polars")
    assert names["by_variation"].select("variation_kind", "pairs").rows() == [
        ("entity_swap", 4),
        ("pose", 4),
        ("position", 2),
    ]
    assert names["first"].item(0, "bytes").startswith(b"\x89PNG")


def test_pyarrow_filters_the_manifest_and_streams_images() -> None:
    names = _run("pyarrow")
    assert names["table"].num_rows == 6
    assert names["num_pairs_with_images"] == 10


def test_spark_joins_images() -> None:
    pytest.importorskip("pyspark", reason="PySpark is not installed")
    if shutil.which("java") is None:
        pytest.skip("there is no Java")
    sizes = _run("Spark")["sizes"]
    assert len(sizes) == 10 and all(row["num_bytes"] > 0 for row in sizes)
