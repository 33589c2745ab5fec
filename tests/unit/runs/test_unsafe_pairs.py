"""What is flagged is not paid for, and what shows up in images is not kept, through the stages."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coupled_core.concepts import ConceptList
from coupled_core.config import ContentFilterConfig, FilterConfig, RunConfig
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.dataset.reader import iter_images, iter_manifest
from coupled_core.dataset.rows import PlannedPair, Row
from coupled_core.dataset.work import WorkFolder
from coupled_core.progress import SilentProgress
from coupled_core.records import PromptGroup, Sample
from coupled_core.runs.filter_stage import filter_shard
from coupled_core.runs.generate_stage import generate_shard
from coupled_core.runs.plan import SampleNames, ShardPlan
from coupled_core.runs.score_stage import score_shard
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.split_stage import SplitsGroups, split_shard
from coupled_core.runs.write_stage import ShardContent, write_shard
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.splitting.refusal import refusal_of
from coupled_core.storage.local import LocalStore
from tests.messages_server.process import RunningServer
from tests.sample_shards import SampleProvenance, sample_run_facts
from tests.unit.runs.shard_samples import SquareGenerator, SquareScorer, make_samples
from tests.unit.splitting.llm.groups import make_group, make_splitter

RUN = "0123456789abcdef"
VERSION = "bright-1"


class BrightnessFilter:
    """A plugged-in filter: images brighter than a bound show the concept "bright"."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def find_concepts(self, image_embeddings: np.ndarray) -> list[tuple[str, ...]]:
        return [("bright",) if e.mean() > self.bound else () for e in image_embeddings]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def _publish(store: LocalStore, samples: Mapping[str, Sample], bound: float) -> UploadedShard:
    """Run the stages behind the split, with images of dropped pairs stored as well."""
    folder, silent = WorkFolder(store, RUN, 0), SilentProgress()
    generate_shard(
        samples,
        SquareGenerator,
        folder,
        batch_size=2,
        image_format="png",
        progress=silent,
    )
    score_shard(
        samples,
        SquareScorer,
        folder,
        batch_size=2,
        progress=silent,
        load_content_filter=lambda: BrightnessFilter(bound),
    )
    filter_shard(samples, folder, FilterConfig(min_combined=-1e9), batch_size=2)
    pairs = {
        key: [PlannedPair(f"{s.seed:032x}", s.group, (0, 1), s.seed, 0)]
        for key, s in samples.items()
    }
    return write_shard(
        ShardContent(0, samples, pairs),
        folder,
        store,
        replace(sample_run_facts(RUN), content_filter_version=VERSION),
        SampleProvenance(),
        batch_size=2,
        store_dropped=True,
    )


def _rows(store: LocalStore, shard: UploadedShard) -> list[Row]:
    return [row for batch in iter_manifest(store, shard.parts) for row in batch.to_pylist()]


def test_a_pair_with_an_unwanted_image_is_dropped_and_its_images_are_never_stored(
    store: LocalStore,
) -> None:
    shard = _publish(store, make_samples(3), bound=54.8)  # the third group is the brightest
    rows = _rows(store, shard)
    assert [row["reject_reasons"] for row in rows] == [[], [], ["unsafe"]]
    assert [row["content_concepts"] for row in rows] == [[], [], ["bright"]]
    assert {row["content_filter_version"] for row in rows} == {VERSION}
    assert rows[2]["image_part"] is None
    stored = [iter_images(store, shard.parts), iter_images(store, shard.parts, kind="dropped")]
    ids = [name for batches in stored for b in batches for name in b["pair_id"].to_pylist()]
    assert ids == [rows[0]["pair_id"], rows[1]["pair_id"]]


def _work(store: LocalStore, num_items: int) -> ShardWork:
    plan = ShardPlan(RUN, 0, 0, num_items, num_items)
    names = SampleNames(0, "f" * 64, lambda group: group.group_id)
    return ShardWork(RunConfig(), plan, names, store, WorkFolder(store, RUN, 0))


def _split(store: LocalStore, groups: list[PromptGroup], splitter: SplitsGroups) -> ShardWork:
    work = _work(store, len(groups))
    listed = ConceptList(
        name="words",
        concepts={"gore": ("a bloody corpse",)},
        neutral=("a landscape",),
        forbidden_words=("bloody corpse",),
    )
    refuse = refusal_of(ContentFilterConfig(concept_list=listed))
    split_shard(groups, [], splitter, work.folder, refuse)
    return work


def test_a_group_that_the_splitter_flags_is_a_row_and_never_reaches_the_generator(
    store: LocalStore, messages_server: RunningServer, tmp_path: Path
) -> None:
    groups = [make_group(0), make_group(1, "[[flag]]")]
    work = _split(store, groups, make_splitter(tmp_path / "answers", transport="online"))
    assert [sample.group.group_id for sample in work.samples().values()] == ["group-0"]
    ((pair, why),) = work.content().failed
    assert (pair.group.group_id, why.reason) == ("group-1", "unsafe")
    assert why.message.endswith("flagged: shows violence")
    assert why.llm_cost_usd > 0


def test_a_group_with_forbidden_words_is_not_even_sent_to_the_splitter(
    store: LocalStore, messages_server: RunningServer, tmp_path: Path
) -> None:
    groups = [make_group(0), make_group(1, "beside a Bloody  Corpse")]
    work = _split(store, groups, make_splitter(tmp_path / "answers", transport="online"))
    assert [sample.group.group_id for sample in work.samples().values()] == ["group-0"]
    assert messages_server.counters()["paid"]["online"] == 1
    assert work.content().failed[0][1].reason == "unsafe"


def test_forbidden_words_count_for_groups_that_are_split_already_too(store: LocalStore) -> None:
    group = replace(
        make_group(0),
        background_prompt="a garden with a bloody corpse",
        entity_prompts=("a fox", "an owl"),
    )
    work = _split(store, [group], OfflineSplitter())
    assert work.samples() == {}
    assert len(work.content().failed) == 1
