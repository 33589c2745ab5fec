"""The samples of the shipped prompt set, and their two sides."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.config import GenerationConfig, RunConfig
from coupled_core.errors import ConfigError, PromptSetError
from coupled_core.records import Sample
from coupled_core.research.evaluation.samples import (
    build_samples,
    partition_samples,
    take_groups,
)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return build_samples("miniature", RunConfig())


def _groups(samples: list[Sample]) -> set[str]:
    return {sample.group.group_id for sample in samples}


def test_the_same_set_and_seed_give_the_same_samples(samples: list[Sample]) -> None:
    assert build_samples("miniature", RunConfig()) == samples
    other = build_samples("miniature", RunConfig(generation=GenerationConfig(seed=1)))
    assert [s.group for s in other] == [s.group for s in samples]
    assert [s.seed for s in other] != [s.seed for s in samples]


def test_sides_are_disjoint_complete_and_about_as_large_as_asked(samples: list[Sample]) -> None:
    train, validation = partition_samples(samples)
    assert _groups(train) | _groups(validation) == _groups(samples)
    assert not _groups(train) & _groups(validation)
    assert len(train) + len(validation) == len(samples)
    assert 0.25 < len(_groups(train)) / len(_groups(samples)) < 0.75
    assert len(partition_samples(samples, 0.9)[0]) > len(train)


def test_a_group_stays_on_its_side_when_the_set_changes(samples: list[Sample]) -> None:
    train, _ = partition_samples(samples)
    fewer, _ = partition_samples(list(reversed(samples))[10:])
    assert _groups(fewer) <= _groups(train)


def test_the_first_groups_of_a_side_are_all_their_samples(samples: list[Sample]) -> None:
    train, _ = partition_samples(samples)
    taken = take_groups(train, 3)
    assert len(_groups(taken)) == 3
    assert taken == [sample for sample in train if sample.group.group_id in _groups(taken)]
    with pytest.raises(ConfigError, match="1000 groups are wanted"):
        take_groups(train, 1000)


def test_groups_without_a_split_are_left_out_and_a_set_of_them_is_refused(
    tmp_path: Path, samples: list[Sample]
) -> None:
    odd = {"group_id": "odd", "prompts": ["a red fox asleep", "two boats under the moon"]}
    good = {"group_id": "good", "prompts": list(samples[0].group.prompts)}
    pq.write_table(pa.Table.from_pylist([odd, good]), tmp_path / "some.parquet")
    pq.write_table(pa.Table.from_pylist([odd]), tmp_path / "none.parquet")
    assert _groups(build_samples(str(tmp_path / "some.parquet"), RunConfig())) == {"good"}
    with pytest.raises(PromptSetError, match="none of its 1 groups could be split"):
        build_samples(str(tmp_path / "none.parquet"), RunConfig())
