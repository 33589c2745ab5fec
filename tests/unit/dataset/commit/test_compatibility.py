"""Scores that do not compare never meet in one dataset; everything else may."""

from pathlib import Path

import pytest

from coupled_core.config import RunConfig
from coupled_core.dataset.commit.commit import (
    check_comparable,
    commit_shards,
    what_must_agree,
)
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.snapshot import RunInfo
from coupled_core.errors import DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, make_rows, publish, with_images


def _run(name: str, metric_version: str = "1", **stages: dict[str, object]) -> RunInfo:
    config = RunConfig.model_validate(stages).model_dump(mode="json")
    facts = {"config": config, "metric_version": metric_version}
    return describe_run(name).model_copy(update=facts)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    assert commit_shards(store, [publish(store, "a", 0)], _run("a"))
    return store


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (
            _run("b", scoring={"clip_model": "ViT-L-14:openai"}),
            r"scoring\.clip_model is 'ViT-L-14:openai' here and 'miniature' there",
        ),
        (_run("b", scoring={"sam_model": "vit_b:x"}), r"scoring\.sam_model is 'vit_b:x' here"),
        (
            _run("b", scoring={"dtype": "bfloat16"}),
            r"scoring\.dtype is 'bfloat16' here and 'float32' there",
        ),
        (_run("b", output={"store_background": True}), r"store_background is 'True' here"),
        (_run("b", metric_version="5"), "metric_version is '5' here and '1' there"),
    ],
)
def test_scores_that_do_not_compare_are_refused_and_the_setting_is_named(
    store: LocalStore, other: RunInfo, named: str
) -> None:
    before = current_snapshot(store)
    with pytest.raises(DatasetError, match=named):
        commit_shards(store, [publish(store, "b", 1)], other)
    assert current_snapshot(store) == before


@pytest.mark.parametrize(
    "other",
    [
        _run("b", generation={"width": 128, "num_inference_steps": 3}),
        _run("b", filter={"min_combined": 9.0}),
        _run("b", output={"image_format": "webp"}),
        describe_run("b"),
    ],
)
def test_what_every_row_states_for_itself_may_differ(store: LocalStore, other: RunInfo) -> None:
    assert commit_shards(store, [publish(store, "b", 1)], other)


@pytest.mark.parametrize("version", ["2", "3"])
def test_scores_of_square_images_go_together_with_those_of_before_clip_saw_whole_images(
    store: LocalStore, version: str
) -> None:
    assert commit_shards(store, [publish(store, "b", 1)], _run("b", metric_version=version))


def test_scores_of_prompts_of_which_the_beginning_alone_was_read_are_refused(
    store: LocalStore,
) -> None:
    snapshot, run = current_snapshot(store), _run("b", metric_version="3")
    assert snapshot is not None
    facts = what_must_agree(run.config, run.metric_version, run.partition_rule)
    check_comparable(store, snapshot, facts, lambda _: False)
    with pytest.raises(DatasetError, match="metric_version is '3' here and '1' there"):
        check_comparable(store, snapshot, facts, lambda prompts: bool(prompts))


def test_scores_of_wide_images_from_before_clip_saw_them_whole_are_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    made = make_rows("a", 0)
    wide = [row | {"width": 2 * row["width"]} if row["width"] else row for row in made.rows]
    shard = upload_shard(store, with_images(wide, made.image_rows), run_id="a", shard_index=0)
    assert commit_shards(store, [shard], _run("a"))
    with pytest.raises(DatasetError, match="metric_version is '2' here and '1' there"):
        commit_shards(store, [publish(store, "b", 1)], _run("b", metric_version="2"))


@pytest.mark.parametrize(("side_px", "is_taken"), [(64, True), (128, False)])
def test_scores_of_masks_told_at_another_size_are_refused(
    tmp_path: Path, side_px: int, is_taken: bool
) -> None:
    store, new = LocalStore(tmp_path), _run("b", metric_version="4")
    first = publish(store, "a", 0, side_px=side_px)
    assert commit_shards(store, [first], _run("a", metric_version="3"))
    shards = [publish(store, "b", 1, side_px=side_px)]
    if is_taken:
        assert commit_shards(store, shards, new)
    else:
        with pytest.raises(DatasetError, match="metric_version is '4' here and '3' there"):
            commit_shards(store, shards, new)
