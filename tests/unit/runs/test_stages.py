"""The stages of a shard over a real work folder: what is stored is not done again."""

from pathlib import Path

import pytest

from coupled_core.config import FilterConfig
from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import StorageError
from coupled_core.progress import SilentProgress
from coupled_core.records import QuarantinedRow, Rejection, Sample
from coupled_core.runs.checkpoints.generated import EncodedSample, parse_generated
from coupled_core.runs.checkpoints.splits import read_split
from coupled_core.runs.filter_stage import filter_shard
from coupled_core.runs.generate_stage import generate_shard
from coupled_core.runs.score_stage import score_shard
from coupled_core.runs.split_stage import split_shard
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.storage.local import LocalStore
from tests.unit.runs.shard_samples import SquareGenerator, SquareScorer, make_group, make_samples


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    return WorkFolder(LocalStore(tmp_path), "0123456789abcdef", 0)


def _generate(samples: dict[str, Sample], generator: SquareGenerator, folder: WorkFolder) -> int:
    return generate_shard(
        samples,
        lambda: generator,
        folder,
        batch_size=2,
        image_format="png",
        progress=SilentProgress(),
    )


def _score(samples: dict[str, Sample], scorer: SquareScorer, folder: WorkFolder) -> int:
    return score_shard(samples, lambda: scorer, folder, batch_size=2, progress=SilentProgress())


def test_a_shard_that_died_goes_on_with_the_batch_at_which_it_died(folder: WorkFolder) -> None:
    samples = make_samples(5)
    with pytest.raises(RuntimeError):
        _generate(samples, SquareGenerator(dies_at_batch=2), folder)
    second = SquareGenerator()
    assert _generate(samples, second, folder) == 1
    assert second.batches == [[4]]


def test_a_finished_shard_loads_no_model(folder: WorkFolder) -> None:
    samples = make_samples(3)
    _generate(samples, SquareGenerator(), folder)

    def refuse() -> SquareGenerator:
        raise AssertionError("the model was loaded")

    done = generate_shard(
        samples, refuse, folder, batch_size=2, image_format="png", progress=SilentProgress()
    )
    assert done == 0


def test_batches_of_other_samples_are_generated_again(folder: WorkFolder) -> None:
    samples = make_samples(4)
    _generate(samples, SquareGenerator(), folder)
    fewer = {key: samples[key] for key in list(samples)[1:]}
    assert _generate(fewer, SquareGenerator(), folder) == 2


def test_stored_images_are_the_generated_ones(folder: WorkFolder) -> None:
    samples = make_samples(1)
    generator = SquareGenerator()
    _generate(samples, generator, folder)
    stored = parse_generated(folder.read_table("generated", 0))["key-0"]
    assert isinstance(stored, EncodedSample)
    expected = generator.generate(list(samples.values()))[0]
    assert not isinstance(expected, Rejection)
    for image, original in zip(stored.decode().images, expected.images, strict=True):
        assert (image == original).all()


def test_a_group_that_could_not_be_generated_is_passed_over_by_the_later_stages(
    folder: WorkFolder,
) -> None:
    samples, scorer = make_samples(3), SquareScorer()
    _generate(samples, SquareGenerator(failing_seeds=[1]), folder)
    assert _score(samples, scorer, folder) == 2
    assert scorer.num_scored == 2
    counts = filter_shard(samples, folder, FilterConfig(min_combined=-1e9), batch_size=2)
    assert counts["kept"] == 2


def test_scored_batches_are_not_scored_again(folder: WorkFolder) -> None:
    samples = make_samples(3)
    _generate(samples, SquareGenerator(), folder)
    _score(samples, SquareScorer(), folder)
    again = SquareScorer()
    assert _score(samples, again, folder) == 0
    assert again.num_scored == 0


def test_scoring_what_was_not_generated_says_which_batch_is_missing(folder: WorkFolder) -> None:
    with pytest.raises(StorageError, match="generated/ lacks batch 0"):
        _score(make_samples(1), SquareScorer(), folder)


def test_other_thresholds_decide_anew_without_scoring(folder: WorkFolder) -> None:
    samples = make_samples(2)
    _generate(samples, SquareGenerator(), folder)
    _score(samples, SquareScorer(), folder)
    counts = filter_shard(samples, folder, FilterConfig(min_combined=1e9), batch_size=2)
    assert counts == {"below_min_combined": 2, "kept": 0}


def test_a_split_comes_back_as_it_was_stored(folder: WorkFolder) -> None:
    prompts = ("a red fox in a snowy forest at dawn", "a grey owl in a snowy forest at dawn")
    good = make_group(0, extra={"weight": 1.5}, seed=7)
    groups = [
        type(good)(**{**vars(good), "prompts": prompts}),
        type(good)(**{**vars(good), "prompts": ("a red fox asleep", "two boats under the moon")}),
    ]
    bad = [QuarantinedRow("set.parquet", 9, None, "column prompts: got null")]
    shard = split_shard(groups, bad, OfflineSplitter(), folder)
    assert isinstance(shard.outcomes[1], Rejection)
    assert read_split(folder) == shard
