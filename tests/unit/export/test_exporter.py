"""Every format: the same bytes each time, whatever happened on the way, and nothing mis-paired."""

import json
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConfigError, DatasetError, StorageError
from coupled_core.export.folder import ExportFolder
from coupled_core.export.format import describe_formats, find_format
from coupled_core.progress import report_to
from coupled_core.storage.local import LocalStore
from tests.unit.export.export_samples import (
    EDIT_FORMATS,
    FILE_FORMATS,
    commit_pairs,
    export,
    train_instructions,
    tree,
)

ONE_PAIR_A_UNIT = 1  # byte


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return LocalStore(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def snapshot(store: LocalStore) -> Snapshot:
    return commit_pairs(store)


class _Interrupt:
    """Presses Ctrl-C after so many pairs or checks."""

    def __init__(self, stage: str, after: int) -> None:
        self._stage, self._left = stage, after

    def begin(self, stage: str, total: int) -> None:
        pass

    def advance(self, stage: str, count: int = 1) -> None:
        if stage == self._stage:
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("name", describe_formats())
def test_the_same_snapshot_gives_the_same_bytes(
    name: str, store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    found = []
    for _ in range(2):
        export(store, snapshot, name, tmp_path / "out")
        found.append(tree(tmp_path / "out"))
        shutil.rmtree(tmp_path / "out")
    assert found[0] == found[1]


@pytest.mark.parametrize("name", EDIT_FORMATS)
def test_an_interrupted_export_is_finished_with_the_same_bytes(
    name: str, store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    options = {"partition": "train", "max_shard_bytes": ONE_PAIR_A_UNIT}
    undisturbed = export(store, snapshot, name, tmp_path / "out", **options)
    assert undisturbed.num_units_written == 6
    expected = tree(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    for stage, after in (("export", 2), ("export", 3), ("check", 5)):
        with pytest.raises(KeyboardInterrupt), report_to(_Interrupt(stage, after)):
            export(store, snapshot, name, tmp_path / "out", **options)
        assert not (tmp_path / "out" / "export.json").exists()
    report = export(store, snapshot, name, tmp_path / "out", **options)
    assert (report.num_units_written, report.num_units_reused) == (0, 6)
    assert report.num_edits_checked == 12
    assert tree(tmp_path / "out") == expected


def test_an_export_that_names_whole_paths_is_not_taken_for_complete_once_it_was_moved(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, "simpletuner", tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(ConfigError, match="other options"):
        export(store, snapshot, "simpletuner", tmp_path / "after")


@pytest.mark.parametrize("name", EDIT_FORMATS)
def test_both_directions_of_every_pair_come_out(
    name: str, store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, name, tmp_path / "out", partition="train")
    seen = {edit.key: edit for edit in find_format(name).read_back(tmp_path / "out")}
    assert {key: edit.instruction for key, edit in seen.items()} == dict(train_instructions())
    for key, edit in seen.items():
        pair_id, _, direction = key.rpartition("-")
        other = seen[f"{pair_id}-{'backward' if direction == 'forward' else 'forward'}"]
        assert (edit.source_sha256, edit.target_sha256) == (
            other.target_sha256,
            other.source_sha256,
        )


def test_one_direction_alone_has_half_the_edits(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    report = export(store, snapshot, "ai-toolkit", tmp_path / "out", directions="backward")
    assert report.num_edits_checked == report.marker["num_edits"] == 6
    stems = {path.stem for path in (tmp_path / "out" / "targets").iterdir()}
    assert {stem.rpartition("-")[2] for stem in stems} == {"backward"}


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_names_of_files_come_from_pair_ids_alone(
    name: str, store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, name, tmp_path / "out")
    allowed = set("0123456789abcdef-") | set("forward") | set("backward")
    files = (tmp_path / "out").rglob("*.png")
    stems = [path.stem.removesuffix("-condlabel") for path in files]
    assert stems and all(set(stem) <= allowed and len(stem) <= 41 for stem in stems)


@pytest.mark.parametrize("name", describe_formats())
def test_terms_go_along_with_every_export(
    name: str, store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, name, tmp_path / "out")
    marker = json.loads((tmp_path / "out" / "export.json").read_text())
    assert marker["ai_generated"] is True
    assert marker["sources"][0]["license"] == "Apache-2.0"
    assert marker["sources"][0]["use_restrictions"] == "none"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "AI disclosure" in card and "Apache-2.0" in card and "use restrictions" in card


def test_checksums_are_those_that_sha256sum_checks(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, "simpletuner", tmp_path / "out")
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "checksums.sha256"],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    named = {line.rpartition(": ")[0] for line in checked.stdout.splitlines()}
    assert named == tree(tmp_path / "out").keys() - {"export.json", "checksums.sha256"}


def test_a_complete_export_is_left_as_it_is(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, "diffsynth", tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert export(store, snapshot, "diffsynth", tmp_path / "out").was_complete
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_a_folder_with_other_things_in_it_is_refused(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("do not lose me")
    with pytest.raises(ConfigError, match="not empty"):
        export(store, snapshot, "webdataset", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder_is_refused(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="is not a folder"):
        export(store, snapshot, "webdataset", tmp_path / "file")


def test_a_full_disk_is_reported_and_leaves_no_marker(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot write to"):
            export(store, snapshot, "webdataset", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert not (tmp_path / "out" / "export.json").exists()
    assert not list((tmp_path / "out").glob("*.tar"))
    assert export(store, snapshot, "webdataset", tmp_path / "out").num_edits_checked == 20


def test_two_exports_do_not_write_to_one_folder(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    with (
        ExportFolder(tmp_path / "out").opened("somebody else"),
        pytest.raises(ConfigError, match="another export is writing"),
    ):
        export(store, snapshot, "webdataset", tmp_path / "out")


def test_a_complete_export_of_something_else_is_refused(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    export(store, snapshot, "diffsynth", tmp_path / "out")
    with pytest.raises(ConfigError, match="diffsynth of snapshot"):
        export(store, snapshot, "musubi-tuner", tmp_path / "out")


def test_an_unfinished_export_with_other_settings_is_refused(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), report_to(_Interrupt("export", 2)):
        export(store, snapshot, "diffsynth", tmp_path / "out")
    with pytest.raises(ConfigError, match="other settings"):
        export(store, snapshot, "diffsynth", tmp_path / "out", directions="forward")


@pytest.mark.parametrize("name", ["ai-toolkit", "diffusion-pipe", "musubi-tuner", "simpletuner"])
def test_files_that_change_places_after_they_were_written_are_found_and_named(
    name: str, store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), report_to(_Interrupt("check", 1)):
        export(store, snapshot, name, tmp_path / "out")
    first, second = sorted((tmp_path / "out").rglob("*.png"))[:2]
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1].ljust(len(content[0]), b"\0")[: len(content[0])])
    with pytest.raises(DatasetError, match="has another source, target or instruction"):
        export(store, snapshot, name, tmp_path / "out")
    assert not (tmp_path / "out" / "export.json").exists()


def test_a_finished_unit_that_lost_a_file_is_written_again(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    options = {"partition": "train", "max_shard_bytes": ONE_PAIR_A_UNIT}
    export(store, snapshot, "diffusion-pipe", tmp_path / "undisturbed", **options)
    with pytest.raises(KeyboardInterrupt), report_to(_Interrupt("check", 1)):
        export(store, snapshot, "diffusion-pipe", tmp_path / "out", **options)
    next((tmp_path / "out" / "16x16" / "sources").iterdir()).unlink()
    report = export(store, snapshot, "diffusion-pipe", tmp_path / "out", **options)
    assert (report.num_units_written, report.num_units_reused) == (1, 5)
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": [{"name": 1}], "digests": {}}', "{"])
def test_a_note_of_a_finished_unit_that_is_none_has_the_unit_written_again(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path, content: str
) -> None:
    options = {"partition": "train", "max_shard_bytes": ONE_PAIR_A_UNIT}
    with pytest.raises(KeyboardInterrupt), report_to(_Interrupt("check", 1)):
        export(store, snapshot, "ai-toolkit", tmp_path / "out", **options)
    next((tmp_path / "out").rglob("units/*[0-9].json")).write_text(content)
    report = export(store, snapshot, "ai-toolkit", tmp_path / "out", **options)
    assert (report.num_units_written, report.num_units_reused) == (1, 5)


def test_video_frames_leave_swaps_out_unless_asked(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    without = export(store, snapshot, "flf2v", tmp_path / "a", include_entity_swap=False)
    everything = export(store, snapshot, "flf2v", tmp_path / "b", include_entity_swap=True)
    assert without.marker["pairs_by_variation_kind"] == {"pose": 2, "position": 2}
    assert everything.marker["pairs_by_variation_kind"] == {
        "entity_swap": 2,
        "pose": 2,
        "position": 2,
    }


def test_a_format_without_partitions_does_not_mix_them(
    store: LocalStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="would mix the partitions"):
        export(store, snapshot, "ai-toolkit", tmp_path / "out", partition="all")


WITHOUT = ((0, "edit_instruction"), (0, "inverse_instruction"), (1, "inverse_instruction"))
"""In each shard one pair has no instruction at all, and one has none backwards."""


@pytest.mark.parametrize("name", [name for name in EDIT_FORMATS if name != "flf2v"])
def test_edits_without_an_instruction_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    store = LocalStore(tmp_path / "dataset")
    snapshot = commit_pairs(store, 1, without=WITHOUT)
    report = export(store, snapshot, name, tmp_path / "out", partition="train")
    assert report.marker["num_pairs"] == 2
    assert report.marker["num_edits"] == report.num_edits_checked == 3
    assert report.marker["num_edits_without_instruction"] == 3
    again = export(store, snapshot, name, tmp_path / "out", partition="train")
    assert again.was_complete


def test_first_and_last_frames_need_no_instruction(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "dataset")
    snapshot = commit_pairs(store, 1, without=WITHOUT)
    report = export(store, snapshot, "flf2v", tmp_path / "out", partition="train")
    assert (report.marker["num_edits"], report.num_edits_checked) == (6, 6)
    assert report.marker["num_edits_without_instruction"] == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "flf2v.jsonl").open()]
    told = [row for row in rows if row["prompt"] == row["prompt_last"]]
    assert len(told) == 3


def test_an_export_of_nothing_but_missing_instructions_says_so(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "dataset")
    columns = ("edit_instruction", "inverse_instruction")
    snapshot = commit_pairs(store, 1, without=[(i, c) for i in range(5) for c in columns])
    with pytest.raises(DatasetError, match="none of the 10 edits has an instruction"):
        export(store, snapshot, "huggingface", tmp_path / "out")


def test_the_card_says_how_many_edits_were_left_out(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "dataset")
    snapshot = commit_pairs(store, 1, without=WITHOUT)
    export(store, snapshot, "huggingface", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "3 more were left out for want of an instruction" in card
