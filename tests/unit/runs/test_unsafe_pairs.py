"""What is flagged is not paid for, and what shows up in images is not kept, through the stages."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from coupled_core.concepts import ConceptList
from coupled_core.config import ContentFilterConfig
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.progress import SilentProgress
from coupled_core.records import PromptGroup
from coupled_core.runs.pipeline import ShardModels, make_batches
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.stages import split_shard
from coupled_core.runs.write import write_shard
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.splitting.refusal import refusal_of
from coupled_core.splitting.splitter import Splitter
from coupled_core.storage.local import LocalStore
from tests.messages_server.process import RunningServer
from tests.sample_shards import sample_run_facts
from tests.stored_images import iter_images
from tests.unit.runs.shard_samples import (
    RUN,
    SquareGenerator,
    SquareScorer,
    open_work,
    split_work,
)
from tests.unit.splitting.llm.groups import make_group, make_splitter

VERSION = "bright-1"


class BrightnessFilter:
    """A plugged-in filter: images brighter than a bound show the concept "bright"."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def find_in_image(self, image: np.ndarray, embedding: np.ndarray) -> tuple[str, ...]:
        return ("bright",) if embedding.mean() > self.bound else ()


def _write(folder: Path, num_groups: int, bound: float) -> UploadedShard:
    """Run the stages behind the split, with images of dropped pairs stored as well."""
    work, silent = split_work(folder, num_groups, output={"store_dropped": True}), SilentProgress()
    filter_ = BrightnessFilter(bound)
    make_batches(work, ShardModels(SquareGenerator, SquareScorer, lambda: filter_), silent)
    return write_shard(work, replace(sample_run_facts(RUN), content_filter_version=VERSION))


def _rows(store: LocalStore, shard: UploadedShard) -> list[Row]:
    return [row for batch in iter_manifest(store, shard.parts) for row in batch.to_pylist()]


def test_a_pair_with_an_unwanted_image_is_dropped_and_its_images_are_never_stored(
    tmp_path: Path,
) -> None:
    shard = _write(tmp_path, 3, bound=54.8)  # the third group is the brightest
    store = LocalStore(tmp_path)
    rows = _rows(store, shard)
    assert [row["reject_reasons"] for row in rows] == [[], [], ["unsafe"]]
    assert [row["content_concepts"] for row in rows] == [[], [], ["bright"]]
    assert {row["content_filter_version"] for row in rows} == {VERSION}
    assert rows[2]["image_part"] is None
    stored = [iter_images(store, shard.parts), iter_images(store, shard.parts, kind="dropped")]
    ids = [name for batches in stored for b in batches for name in b["pair_id"].to_pylist()]
    assert ids == [rows[0]["pair_id"], rows[1]["pair_id"]]


def _split(folder: Path, groups: list[PromptGroup], splitter: Splitter) -> ShardWork:
    work = open_work(folder, groups)
    listed = ConceptList(
        name="words",
        concepts={"gore": ("a bloody corpse",)},
        neutral=("a landscape",),
        forbidden_words=("bloody corpse",),
    )
    split_shard(work, splitter, refusal_of(ContentFilterConfig(concept_list=listed)))
    return work


def _made(work: ShardWork) -> list[str]:
    return [sample.group.group_id for sample in work.attempt(1).samples.values()]


def test_a_group_that_the_splitter_flags_is_a_row_and_never_reaches_the_generator(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    groups = [make_group(0), make_group(1, "[[flag]]")]
    work = _split(tmp_path, groups, make_splitter(tmp_path / "answers", transport="online"))
    assert _made(work) == ["group-0"]
    ((planned, _, why),) = work.failed_samples()
    assert (planned.group.group_id, why.reason) == ("group-1", "unsafe")
    assert why.message.endswith("flagged: shows violence")
    assert why.llm_cost_usd > 0


def test_a_group_with_forbidden_words_is_not_even_sent_to_the_splitter(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    groups = [make_group(0), make_group(1, "beside a Bloody  Corpse")]
    work = _split(tmp_path, groups, make_splitter(tmp_path / "answers", transport="online"))
    assert _made(work) == ["group-0"]
    assert messages_server.counters()["paid"]["online"] == 1
    assert [why.reason for _, _, why in work.failed_samples()] == ["unsafe"]


def test_forbidden_words_count_for_groups_that_are_split_already_too(tmp_path: Path) -> None:
    group = replace(
        make_group(0),
        background_prompt="a garden with a bloody corpse",
        entity_prompts=("a fox", "an owl"),
    )
    work = _split(tmp_path, [group], OfflineSplitter())
    assert _made(work) == []
    assert len(list(work.failed_samples())) == 1
