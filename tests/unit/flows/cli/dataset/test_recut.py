"""The commands that decide anew about all pairs, as a person or a script meets them."""

from pathlib import Path

import pytest

from coupled_core.config import FilterConfig
from coupled_core.dataset.backgrounds import partition_of_background
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, make_rows, with_images
from tests.unit.flows.cli.invoke import run, run_json

LOOKS = ("image_0_phash", "image_1_phash", "image_0_clip_code", "image_1_clip_code")


@pytest.fixture
def alike(tmp_path: Path) -> str:
    """A dataset of three kept pairs; two look the same, and a background differs by a word."""
    place = "a vibrant meadow"
    longer = (f"{place} with word{number}" for number in range(1000))
    other = next(t for t in longer if partition_of_background(t) != partition_of_background(place))
    made = make_rows("run", 0, num_kept=3)
    made.rows[1].update({name: made.rows[0][name] for name in LOOKS})
    for row, background in zip(made.rows, (place, place, other), strict=False):
        row.update(background_prompt=background, partition=partition_of_background(background))
    store = LocalStore(tmp_path / "pairs")
    pairs = with_images(made.rows, made.image_rows)
    shard = upload_shard(store, pairs, run_id="run", shard_index=0)
    assert commit_shards(store, [shard], describe_run("run"))
    return store.uri


@pytest.mark.parametrize(
    "command", [("dedup",), ("repartition",), ("compact",), ("recut", "--min-combined", "1")]
)
def test_a_command_needs_a_dataset(command: tuple[str, ...], tmp_path: Path) -> None:
    code, output, errors = run(*command, "--dataset", str(tmp_path))
    assert (code, output, errors.count("\n")) == (4, "", 1)


def test_dedup_drops_a_pair_once_and_verify_agrees(alike: str) -> None:
    report = run_json("dedup", "--dataset", alike)
    assert (report["num_dropped"], report["num_kept"]) == (1, 0)
    assert report["thresholds"] == {"max_phash_distance": 6, "min_clip_similarity": 0.97}
    assert report["funnel"]["dropped_by_reason"]["duplicate"] == 1
    assert run_json("verify", "--dataset", alike)["is_whole"]
    code, output, _ = run("dedup", "--dataset", alike)
    assert (code, output) == (0, "no decision changes: the dataset stays as it is\n")


def test_a_threshold_out_of_range_is_wrong_usage(alike: str) -> None:
    code, _, errors = run("dedup", "--dataset", alike, "--min-clip-similarity", "0")
    assert code == 2
    assert "--min-clip-similarity" in errors


def test_verify_names_near_backgrounds_and_fails_only_when_asked(alike: str) -> None:
    found = run_json("verify", "--dataset", alike)
    assert (found["is_whole"], found["num_near_backgrounds"]) == (True, 1)
    assert found["near_backgrounds"][0]["overlap"] == pytest.approx(2 / 3)
    code, output, errors = run("verify", "--dataset", alike, "--strict")
    assert code == 4
    assert "perhaps a leak: " in output and "share 67% of their words" in output
    assert "leave --strict out" in errors


def test_repartition_names_the_rule_once(alike: str) -> None:
    report = run_json("repartition", "--dataset", alike)
    assert (report["num_moved"], report["snapshot_id"] is None) == (0, False)
    assert run_json("repartition", "--dataset", alike)["snapshot_id"] is None


def test_recut_says_what_it_dropped_and_how_to_undo_it(dataset: str) -> None:
    code, output, _ = run("recut", dataset, "--min-combined", "1.96")
    assert code == 0
    assert "4 pairs dropped" in output and "coupled rollback previous" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name at least one"),
        (("--max-mask-fraction", "7"), "--max-mask-fraction"),
        (("--min-combined", "nan"), "--min-combined: expected a finite number, got 'nan'"),
    ],
)
def test_a_recut_without_sense_is_code_2(
    dataset: str, arguments: tuple[str, ...], said: str
) -> None:
    code, _, errors = run("recut", *arguments, "--dataset", dataset)
    assert code == 2
    assert said in errors


def test_every_threshold_of_the_filter_is_an_option_of_recut() -> None:
    shown = run("recut", "--help")[1]
    for name in FilterConfig.model_fields:
        assert f"--{name.replace('_', '-')}" in shown


def test_a_threshold_of_the_environment_is_not_taken_for_a_wish(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUPLED_FILTER__MIN_COMBINED", "99")
    assert run("recut", dataset)[0] == 2
    assert run_json("recut", dataset, "--min-pixel-mse", "0", "--leave-out")["num_dropped"] == 0
