"""Folders of trainers that do not install here keep every rule that their documentation states."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from coupled_core.errors import ConfigError
from coupled_core.storage.local import LocalStore
from tests.unit.export.export_samples import (
    EVIL,
    commit_pairs,
    export,
    read_lines,
    train_instructions,
)

FOLDERS = (
    "ai-toolkit", "musubi-tuner", "musubi-framepack", "diffsynth", "simpletuner",
    "diffusion-pipe", "flf2v", "onetrainer",
)  # fmt: skip


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exports by name, and `evil`, whose instructions are made to break quoting."""
    root = tmp_path_factory.mktemp("exports")
    store = LocalStore(root / "dataset")
    snapshot = commit_pairs(store)
    for name in FOLDERS:
        export(store, snapshot, name, root / name)
    evil_store = LocalStore(root / "evil-dataset")
    evil = commit_pairs(evil_store, 1, instruction=EVIL)
    for name in FOLDERS:
        export(evil_store, evil, name, root / "evil" / name)
    return root


def _stems(folder: Path, suffix: str) -> set[str]:
    return {path.stem for path in folder.iterdir() if path.suffix == suffix}


def _assert_images_of_one_size(root: Path, first: str, second: str) -> None:
    sizes = set()
    for name in (first, second):
        assert not Path(name).is_absolute()
        with Image.open(root / name) as picture:
            assert picture.format == "PNG"
            sizes.add(picture.size)
    assert len(sizes) == 1


def test_ai_toolkit_has_a_source_and_a_caption_of_the_same_stem_for_each_target(
    exports: Path,
) -> None:
    root = exports / "ai-toolkit"
    (dataset,) = yaml.safe_load((root / "dataset.yaml").read_text())["datasets"]
    targets, sources = root / dataset["folder_path"], root / dataset["control_path"]
    stems = _stems(targets, ".png")
    assert stems == _stems(sources, ".png") == _stems(targets, f".{dataset['caption_ext']}")
    captions = {stem: (targets / f"{stem}.txt").read_text() for stem in stems}
    assert captions == dict(train_instructions())
    for stem in stems:
        _assert_images_of_one_size(root, f"targets/{stem}.png", f"sources/{stem}.png")


@pytest.mark.parametrize("name", ["musubi-tuner", "musubi-framepack"])
def test_musubi_reads_a_toml_that_names_its_jsonl_and_a_cache_folder(
    name: str, exports: Path
) -> None:
    root = exports / name
    config = tomllib.loads((root / "dataset.toml").read_text())
    (dataset,) = config["datasets"]
    assert config["general"]["resolution"] == [16, 16]
    assert config["general"]["bucket_no_upscale"] is True  # smaller images keep their size
    assert dataset["cache_directory"]  # required with a metadata file
    rows = read_lines(root / dataset["image_jsonl_file"])
    assert len(rows) == 12
    for row in rows:
        assert row.keys() == {"image_path", "control_path", "caption"}
        _assert_images_of_one_size(root, str(row["image_path"]), str(row["control_path"]))
    targets = [Path(str(row["image_path"])).stem for row in rows]
    assert len(set(targets)) == len(rows)  # latents are cached by the target's stem


def test_framepack_says_which_frames_the_images_are(exports: Path) -> None:
    config = tomllib.loads((exports / "musubi-framepack" / "dataset.toml").read_text())
    (dataset,) = config["datasets"]
    assert dataset["fp_1f_clean_indices"] == [0]  # one index a control image
    assert (dataset["fp_1f_target_index"], dataset["fp_1f_no_post"]) == (9, False)
    plain = tomllib.loads((exports / "musubi-tuner" / "dataset.toml").read_text())
    assert not [key for key in plain["datasets"][0] if key.startswith("fp_1f")]


def test_diffsynth_finds_its_images_below_the_base_path(exports: Path) -> None:
    root = exports / "diffsynth"
    rows = read_lines(root / "metadata.jsonl")
    assert len(rows) == 12
    for row in rows:
        assert row.keys() == {"image", "prompt", "kontext_images", "edit_image"}
        assert row["kontext_images"] == row["edit_image"]
        _assert_images_of_one_size(root, str(row["image"]), str(row["kontext_images"]))


def _simpletuner_rows(backend: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the Parquet row of each file, looked up as SimpleTuner does."""
    columns = backend["parquet"]
    table = pq.read_table(columns["path"]).to_pylist()
    by_name = {row[columns["filename_column"]]: row for row in table}
    found = {}
    for file in Path(backend["instance_data_dir"]).resolve().iterdir():
        name = str(file)
        if not columns["identifier_includes_extension"]:
            name = file.stem
        name = name.replace(backend["instance_data_dir"], "").removeprefix("/")
        found[file.name] = by_name[name]  # a KeyError is an image that it would skip
    return found


def test_simpletuner_pairs_two_backends_by_equal_file_names(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = exports / "simpletuner"
    monkeypatch.chdir(tmp_path)  # it is started in a folder of its own
    targets, sources, texts = json.loads((root / "multidatabackend.json").read_text())
    assert targets["conditioning_data"] == sources["id"]
    assert sources["source_dataset_id"] == targets["id"]
    assert sources["dataset_type"] == "conditioning"
    assert (texts["dataset_type"], texts["default"]) == ("text_embeds", True)
    assert targets["caption_strategy"] == targets["metadata_backend"] == "parquet"
    found, columns = _simpletuner_rows(targets), targets["parquet"]
    assert found.keys() == _simpletuner_rows(sources).keys()
    assert {Path(name).stem: row[columns["caption_column"]] for name, row in found.items()} == dict(
        train_instructions()
    )
    sizes = {
        (row[columns["width_column"]], row[columns["height_column"]]) for row in found.values()
    }
    assert sizes == {(16, 16)}


def test_diffusion_pipe_has_lists_of_captions_by_file_name_and_a_source_for_each_target(
    exports: Path,
) -> None:
    root = exports / "diffusion-pipe"
    config = tomllib.loads((root / "dataset.toml").read_text())
    (directory,) = config["directory"]
    targets, sources = root / directory["path"], root / directory["control_path"]
    assert directory["size_buckets"] == [[16, 16, 1]]  # width, height, frames
    captions = json.loads((targets / "captions.json").read_text())
    assert captions.keys() == {f"{stem}.png" for stem in _stems(targets, ".png")}
    assert all(isinstance(entry, list) and len(entry) == 1 for entry in captions.values())
    assert _stems(targets, ".png") == _stems(sources, ".png")
    assert {Path(name).stem: texts[0] for name, texts in captions.items()} == dict(
        train_instructions()
    )


def test_video_frames_have_both_prompts_and_the_size(exports: Path) -> None:
    root = exports / "flf2v"
    rows = read_lines(root / "flf2v.jsonl")
    documented = {
        "pair_id", "first_frame", "last_frame", "prompt", "prompt_first", "prompt_last",
        "width", "height",
    }  # fmt: skip
    for row in rows:
        assert documented <= row.keys()
        _assert_images_of_one_size(root, str(row["first_frame"]), str(row["last_frame"]))
        assert (row["width"], row["height"]) == (16, 16)


def test_diffsynth_is_told_videos_to_be_rendered_between_frames_and_their_prompts(
    exports: Path,
) -> None:
    root = exports / "flf2v"
    table = pd.read_csv(root / "metadata.csv")  # as its loader reads every file that is no JSON
    rows = read_lines(root / "flf2v.jsonl")
    assert list(table["prompt"]) == [row["prompt"] for row in rows]
    assert list(table["input_image"]) == [row["first_frame"] for row in rows]
    assert list(table["end_image"]) == [row["last_frame"] for row in rows]
    assert table["video"].is_unique and table["video"].str.endswith(".mp4").all()


def _instructions(root: Path, name: str) -> list[Any]:
    """Return what the trainer reads as instructions."""
    if name in ("ai-toolkit", "onetrainer"):
        return [path.read_bytes().decode() for path in root.rglob("*.txt")]
    if name == "simpletuner":
        return list(pq.read_table(root / "metadata.parquet")["caption"].to_pylist())
    if name == "diffusion-pipe":
        entries = json.loads((root / "16x16" / "targets" / "captions.json").read_text()).values()
        return [text for texts in entries for text in texts]
    index, key = {
        "diffsynth": ("metadata.jsonl", "prompt"),
        "flf2v": ("flf2v.jsonl", "prompt"),
    }.get(name, ("metadata.jsonl", "caption"))
    return [row[key] for row in read_lines(root / index)]


@pytest.mark.parametrize("name", FOLDERS)
def test_instructions_that_break_careless_quoting_arrive_as_they_were(
    name: str, exports: Path
) -> None:
    found = _instructions(exports / "evil" / name, name)
    assert found.count(EVIL) == 3 and len(found) == 6


def test_onetrainer_finds_source_and_instruction_by_the_stem_of_the_target(exports: Path) -> None:
    folder = exports / "onetrainer" / "concept"
    stems = {stem for stem in _stems(folder, ".png") if not stem.endswith("-condlabel")}
    assert _stems(folder, ".png") == stems | {f"{stem}-condlabel" for stem in stems}
    assert {stem: (folder / f"{stem}.txt").read_text() for stem in stems} == dict(
        train_instructions()
    )
    for stem in stems:
        _assert_images_of_one_size(folder, f"{stem}.png", f"{stem}-condlabel.png")


def _named_files(root: Path, name: str) -> set[str]:
    """Return every path that a trainer is told."""
    if name == "ai-toolkit":
        (dataset,) = yaml.safe_load((root / "dataset.yaml").read_text())["datasets"]
        return {dataset["folder_path"], dataset["control_path"]}
    if name == "diffusion-pipe":
        directories = tomllib.loads((root / "dataset.toml").read_text())["directory"]
        return {each[key] for each in directories for key in ("path", "control_path")}
    index, columns, told = {
        "diffsynth": ("metadata.jsonl", ("image", "kontext_images", "edit_image"), ()),
        "flf2v": ("flf2v.jsonl", ("first_frame", "last_frame"), ()),
    }.get(name, ("metadata.jsonl", ("image_path", "control_path"), ("image_jsonl_file",)))
    found = {str(row[column]) for row in read_lines(root / index) for column in columns}
    if name == "flf2v":
        found |= {*pd.read_csv(root / "metadata.csv")[["input_image", "end_image"]].to_numpy().flat}
    if told:
        (dataset,) = tomllib.loads((root / "dataset.toml").read_text())["datasets"]
        found |= {dataset[key] for key in told}
    return found


@pytest.mark.parametrize(
    "name", [name for name in FOLDERS if name not in ("simpletuner", "onetrainer")]
)
def test_whole_paths_are_told_on_request_and_exist(name: str, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "dataset")
    root = tmp_path / 'été "1"'
    export(store, commit_pairs(store, 1), name, root, absolute_paths=True)
    for path in _named_files(root, name):
        assert Path(path).is_absolute() and Path(path).exists()


@pytest.mark.parametrize("name", ["onetrainer", "webdataset", "huggingface", "card"])
def test_whole_paths_are_refused_where_no_file_is_named(name: str, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "dataset")
    snapshot = commit_pairs(store, 1)
    with pytest.raises(ConfigError, match="--absolute-paths"):
        export(store, snapshot, name, tmp_path / "out", absolute_paths=True)


@pytest.mark.parametrize("name", ["diffsynth", "musubi-tuner", "diffusion-pipe"])
def test_json_is_readable_in_any_locale(name: str, exports: Path) -> None:
    files = [
        path for path in (exports / "evil" / name).rglob("*.json*") if path.name != "export.json"
    ]
    assert files
    for path in files:
        path.read_bytes().decode("ascii")


def test_diffusion_pipe_has_a_directory_and_a_bucket_for_each_size(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "dataset")
    sizes = [(16, 16), (48, 16)]
    snapshot = commit_pairs(store, 2, sizes_px=sizes)
    root = tmp_path / "out"
    export(store, snapshot, "diffusion-pipe", root)
    directories = tomllib.loads((root / "dataset.toml").read_text())["directory"]
    assert [each["size_buckets"] for each in directories] == [[[w, h, 1]] for w, h in sizes]
    for each, size in zip(directories, sizes, strict=True):
        captions = json.loads((root / each["path"] / "captions.json").read_text())
        assert len(captions) == 6
        for name in captions:
            with Image.open(root / each["path"] / name) as picture:
                assert picture.size == size  # so nothing is scaled or cropped
