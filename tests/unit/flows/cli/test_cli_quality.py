"""The commands that look at all pairs together, as a person or a script meets them."""

from pathlib import Path

import pytest

from coupled_core.concepts import SHIPPED
from coupled_core.dataset.backgrounds import partition_of_background
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.errors import ConfigError
from coupled_core.storage.local import LocalStore
from flows.cli.options import read_config
from tests.sample_shards import describe_run, make_rows, with_images
from tests.unit.flows.cli.invoke import run, run_json

LOOKS = ("image_0_phash", "image_1_phash", "image_0_clip_code", "image_1_clip_code")


@pytest.fixture
def dataset(tmp_path: Path) -> str:
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


@pytest.mark.parametrize("command", ["dedup", "resplit"])
def test_a_command_explains_itself_and_needs_a_dataset(command: str, tmp_path: Path) -> None:
    code, output, _ = run(command, "--help")
    assert (code, "Exit codes" in output) == (0, True)
    code, output, errors = run(command, "--dataset", str(tmp_path))
    assert (code, output, errors.count("\n")) == (4, "", 1)


def test_dedup_drops_a_pair_once_and_verify_agrees(dataset: str) -> None:
    report = run_json("dedup", "--dataset", dataset)
    assert (report["num_dropped"], report["num_kept"]) == (1, 0)
    assert report["thresholds"] == {"max_phash_distance": 6, "min_clip_similarity": 0.97}
    assert report["funnel"]["dropped_by_reason"]["duplicate"] == 1
    assert run_json("verify", "--dataset", dataset)["is_whole"]
    code, output, _ = run("dedup", "--dataset", dataset)
    assert (code, output) == (0, "no decision changes: the dataset stays as it is\n")


def test_a_threshold_out_of_range_is_wrong_usage(dataset: str) -> None:
    code, _, errors = run("dedup", "--dataset", dataset, "--min-clip-similarity", "0")
    assert code == 2
    assert "--min-clip-similarity" in errors


def test_verify_names_near_backgrounds_and_fails_only_when_asked(dataset: str) -> None:
    found = run_json("verify", "--dataset", dataset)
    assert (found["is_whole"], found["num_near_backgrounds"]) == (True, 1)
    assert found["near_backgrounds"][0]["overlap"] == pytest.approx(2 / 3)
    code, output, errors = run("verify", "--dataset", dataset, "--strict")
    assert code == 4
    assert "perhaps a leak: " in output and "share 67% of their words" in output
    assert "leave --strict out" in errors


def test_resplit_names_the_rule_once(dataset: str) -> None:
    report = run_json("resplit", "--dataset", dataset)
    assert (report["num_moved"], report["snapshot_id"] is None) == (0, False)
    assert run_json("resplit", "--dataset", dataset)["snapshot_id"] is None


def test_a_content_filter_is_a_file_or_off(tmp_path: Path) -> None:
    path = tmp_path / "concepts.json"
    path.write_text(SHIPPED.model_copy(update={"name": "mine"}).model_dump_json())
    listed = read_config(None, {"content_filter": str(path)}).content_filter.concept_list
    assert listed is not None
    assert (listed.name, listed.concepts) == ("mine", SHIPPED.concepts)
    real = {"clip_model": "ViT-L-14:openai"}
    assert read_config(None, real).content_filter.concept_list == SHIPPED
    assert read_config(None, {**real, "content_filter": "off"}).content_filter.concept_list is None
    with pytest.raises(ConfigError, match=r"nothing\.json"):
        read_config(None, {"content_filter": "nothing.json"})
