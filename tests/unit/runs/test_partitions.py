"""Which partitions a prompt set has, in which order, and how each is named alone."""

from pathlib import Path

import pytest

from coupled_core.config import BackfillSettings, PromptSetConfig, RunConfig
from coupled_core.errors import ConfigError
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import PromptGroup
from coupled_core.runs.partitions import config_of, list_partitions

DAYS = ["2026-11-01", "2026-11-02", "2026-11-10"]
ROW = '{"group_id": "NAME", "prompts": ["A kite at noon", "A balloon at noon"]}'


@pytest.fixture
def sets(tmp_path: Path) -> PromptSetConfig:
    for day in DAYS:
        _write(tmp_path / f"sets/date={day}/set.jsonl", day)
    return PromptSetConfig(uri=str(tmp_path / "sets"))


def _write(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ROW.replace("NAME", name))


def _names(sets: PromptSetConfig, **settings: object) -> list[str]:
    settings = {"by": "date", **settings}
    return [p.name for p in list_partitions(sets, BackfillSettings.model_validate(settings))]


def test_partitions_are_chosen_by_range_by_name_and_in_either_order(sets: PromptSetConfig) -> None:
    assert _names(sets) == DAYS
    assert _names(sets, newest_first=True) == DAYS[::-1]
    assert _names(sets, first="2026-11-02") == DAYS[1:]
    assert _names(sets, last="2026-11-02") == DAYS[:2]
    assert _names(sets, partition=(DAYS[2],)) == DAYS[2:]
    assert len(_names(sets, by="file")) == len(DAYS)


def test_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    for number in (2, 10, 9):
        _write(tmp_path / f"part-{number}.jsonl", str(number))
    sets = PromptSetConfig(uri=str(tmp_path / "part-*.jsonl"))
    files = [Path(name).stem for name in _names(sets, by="file", first="9")]
    assert files == ["part-9", "part-10"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partition": ("x",)}, "no partition 'x': expected one of 2026-11-01, 2026-11-02"),
        ({"by": "region"}, "lies in no folder region="),
        ({"first": "7"}, "expected a date such as 2026-11-01, got a number"),
    ],
)
def test_what_does_not_fit_the_partitions_is_refused(
    sets: PromptSetConfig, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _names(sets, **settings)


def test_standard_input_has_no_partitions() -> None:
    with pytest.raises(ConfigError, match="cannot read standard input"):
        _names(PromptSetConfig(uri="-"))


@pytest.mark.parametrize("uri", ["sets", "sets/", "sets/*", "sets/**/*.jsonl"])
def test_rows_of_a_partition_have_the_columns_of_its_folders(
    sets: PromptSetConfig, tmp_path: Path, uri: str
) -> None:
    _write(tmp_path / "sets/date=2026-11-01/variation_kind=pose/more [1].jsonl", "more")
    prompts = PromptSetConfig(uri=str(tmp_path / uri) + "/" * uri.endswith("/"))
    first, *_ = list_partitions(prompts, BackfillSettings(by="date"))
    config = config_of(first, RunConfig(prompts=prompts))
    groups = {g.group_id: g for g in read_prompt_set(config.prompts) if isinstance(g, PromptGroup)}
    whole = {g.group_id: g for g in read_prompt_set(prompts) if isinstance(g, PromptGroup)}
    assert groups["more"].variation_kind == "pose"
    assert groups == {name: whole[name] for name in ("2026-11-01", "more")}
