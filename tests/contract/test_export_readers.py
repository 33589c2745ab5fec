"""Readers that install from PyPI get out of an export what went into the dataset."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
import webdataset
from PIL import Image

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.export.exporter import export_snapshot, select_edits
from coupled_core.export.format import find_format
from coupled_core.storage.local import LocalStore
from coupled_core.storage.open_store import open_store
from tests.conftest import S3Server
from tests.stored_images import iter_images
from tests.unit.export.export_samples import commit_pairs, export, train_instructions, tree


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return LocalStore(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def snapshot(store: LocalStore) -> Snapshot:
    return commit_pairs(store)


@pytest.fixture(scope="module")
def pixels(store: LocalStore, snapshot: Snapshot) -> dict[str, tuple[Any, Any]]:
    """Images 0 and 1 of every pair, from the dataset itself."""
    return {
        row["pair_id"]: (_pixels(row["image_0"]["bytes"]), _pixels(row["image_1"]["bytes"]))
        for batch in iter_images(store, snapshot.parts)
        for row in batch.to_pylist()
    }


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()

    def load(*arguments: Any, **options: Any) -> Any:
        return datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), **options)

    return load


def _pixels(image: Any) -> Any:
    picture = Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image
    return np.asarray(picture.convert("RGB"))


def _assert_paired(
    pixels: dict[str, tuple[Any, Any]], pair_id: str, direction: str, source: Any, target: Any
) -> None:
    first, second = (0, 1) if direction == "forward" else (1, 0)
    np.testing.assert_array_equal(_pixels(source), pixels[pair_id][first])
    np.testing.assert_array_equal(_pixels(target), pixels[pair_id][second])


@pytest.mark.parametrize(
    ("name", "source", "target", "instruction", "first_columns"),
    [
        (
            "diffusers-instruct-pix2pix", "input_image", "edited_image", "edit_prompt",
            ["input_image", "edited_image", "edit_prompt"],
        ),
        (
            "diffusers-kontext", "conditioning_image", "image", "text",
            ["image", "conditioning_image", "text"],
        ),
        (
            "huggingface", "input_image", "edited_image", "edit_prompt",
            ["input_image", "edited_image", "edit_prompt"],
        ),
    ],
)  # fmt: skip
def test_datasets_loads_parquet_exports_with_splits_and_decoded_images(
    name: str,
    source: str,
    target: str,
    instruction: str,
    first_columns: list[str],
    store: LocalStore,
    snapshot: Snapshot,
    pixels: dict[str, tuple[Any, Any]],
    load_dataset: Callable[..., Any],
    tmp_path: Path,
) -> None:
    export(store, snapshot, name, tmp_path / "out", max_shard_bytes=5000)
    assert len(list((tmp_path / "out" / "data").glob("train-*-of-*.parquet"))) > 1
    found = load_dataset(str(tmp_path / "out"))
    assert {split: len(rows) for split, rows in found.items()} == {
        "train": 12,
        "validation": 4,
        "test": 4,
    }
    assert found["train"].column_names[:3] == first_columns
    assert {f"{r['pair_id']}-{r['direction']}": r[instruction] for r in found["train"]} == dict(
        train_instructions()
    )
    for rows in found.values():
        for row in rows:
            _assert_paired(pixels, row["pair_id"], row["direction"], row[source], row[target])


def test_datasets_loads_the_image_folder_as_the_trainer_does(
    store: LocalStore,
    snapshot: Snapshot,
    pixels: dict[str, tuple[Any, Any]],
    load_dataset: Callable[..., Any],
    tmp_path: Path,
) -> None:
    export(store, snapshot, "diffusers-instruct-pix2pix-folder", tmp_path / "out")
    files = {"train": f"{tmp_path / 'out' / 'train'}/**"}
    found = load_dataset("imagefolder", data_files=files)["train"]
    assert found.column_names == ["input_image", "edited_image", "edit_prompt"]
    pair_and_direction = {text: key.rpartition("-")[::2] for key, text in train_instructions()}
    assert len(found) == len(pair_and_direction)
    for row in found:
        pair_id, direction = pair_and_direction[row["edit_prompt"]]
        _assert_paired(pixels, pair_id, direction, row["input_image"], row["edited_image"])


def test_webdataset_yields_one_sample_an_edit(
    store: LocalStore, snapshot: Snapshot, pixels: dict[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    export(store, snapshot, "webdataset", tmp_path / "out", max_shard_bytes=5000)
    shards = [str(path) for path in sorted((tmp_path / "out").glob("train-*.tar"))]
    assert len(shards) > 1
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert {s["__key__"]: s["json"]["edit_prompt"] for s in samples} == dict(train_instructions())
    for sample in samples:
        facts = sample["json"]
        assert facts["ai_generated"] and facts["license"] == "Apache-2.0"
        source, target = sample["input.png"], sample["output.png"]
        _assert_paired(pixels, facts["pair_id"], facts["direction"], source, target)


def test_croissant_of_a_hub_export_is_valid_and_reads_every_edit(
    store: LocalStore, snapshot: Snapshot, pixels: dict[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    export(store, snapshot, "huggingface", tmp_path / "out")
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "out" / "croissant.json")
    assert dataset.metadata.ctx.issues.report() == ""
    assert dataset.metadata.ctx.is_v1_1()
    hashes = tree(tmp_path / "out")
    assert {f.content_url: f.sha256 for f in dataset.metadata.file_objects} == {
        path: digest for path, digest in hashes.items() if path.endswith(".parquet")
    }
    records = list(dataset.records("train"))
    assert len(records) == 12
    for record in records:
        pair_id, direction = (record[f"train/{n}"].decode() for n in ("pair_id", "direction"))
        source, target = record["train/input_image"], record["train/edited_image"]
        _assert_paired(pixels, pair_id, direction, source, target)


def test_croissant_of_the_dataset_itself_is_valid_and_reads_its_parts(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, "croissant", tmp_path / "out")
    beside = tmp_path / "copy"
    shutil.copytree(store.root, beside)
    shutil.copy(tmp_path / "out" / "croissant.json", beside)
    dataset = mlcroissant.Dataset(jsonld=beside / "croissant.json")
    assert dataset.metadata.ctx.issues.report() == ""
    assert {f.content_url: f.sha256 for f in dataset.metadata.file_objects} == {
        part.key: part.sha256 for part in snapshot.parts
    }
    assert len(list(dataset.records("images"))) == 10
    assert len(list(dataset.records("manifest"))) == 16


def test_croissant_states_the_use_restrictions(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, "croissant", tmp_path / "out")
    metadata = json.loads((tmp_path / "out" / "croissant.json").read_text())
    (terms,) = metadata["usageInfo"]
    assert "odrl:Offer" in terms["@type"] and terms["abstract"] == "none"
    assert "Apache-2.0" in terms["name"]
    assert "generated by AI" in metadata["description"]


def test_an_export_from_s3_has_the_bytes_of_one_from_disk(
    moto_server: S3Server,
    new_bucket: Callable[[S3Server], str],
    store: LocalStore,
    snapshot: Snapshot,
    tmp_path: Path,
) -> None:
    remote = open_store(new_bucket(moto_server))
    for path in sorted(store.root.rglob("*.*")):
        if path.is_file() and path.name != ".lock":
            remote.upload_file(path.relative_to(store.root).as_posix(), path)
    webdataset_format = find_format("webdataset")
    selection = select_edits(webdataset_format)
    for where, source in (("s3", remote), ("disk", store)):
        export_snapshot(source, snapshot, webdataset_format, selection, tmp_path / where)
    assert tree(tmp_path / "s3") == tree(tmp_path / "disk")
