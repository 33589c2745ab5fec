"""Which split a group gets: the one that is given with it, else the configured splitter's."""

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from coupled_core.config import RunConfig, SplitConfig
from coupled_core.errors import ConfigError
from coupled_core.records import EditInstruction, GroupSplit, PromptGroup, Rejection
from coupled_core.splitting.splitter import build_splitter, settle_split

OPEN = PromptGroup("open", ("A kite in a meadow", "A car in a meadow"), "set.parquet", 0)
GIVEN = PromptGroup(
    "given",
    ("一只鹰在草地上飞", "一只狐狸在草地上跑"),
    "set.parquet",
    1,
    background_prompt="草地",
    entity_prompts=("A flying eagle", "A running fox"),
)
HOPELESS = PromptGroup("hopeless", ("one", "two"), "set.parquet", 2)


def test_given_splits_win_and_keep_their_place() -> None:
    given, open_, hopeless = build_splitter(SplitConfig()).split([GIVEN, OPEN, HOPELESS])
    assert isinstance(given, GroupSplit)
    assert (given.background_prompt, given.entity_prompts) == (
        "草地",
        ("A flying eagle", "A running fox"),
    )
    assert (given.source, given.prompt_version) == ("given", None)
    assert isinstance(open_, GroupSplit)
    assert (open_.source, open_.background_prompt) == ("offline", "In a meadow.")
    assert isinstance(hopeless, Rejection)


@pytest.mark.parametrize("group", [OPEN, GIVEN])
def test_a_given_variation_kind_wins(group: PromptGroup) -> None:
    (split,) = build_splitter(SplitConfig()).split([replace(group, variation_kind="position")])
    assert isinstance(split, GroupSplit)
    assert split.variation_kind == "position"


def test_another_given_split_is_another_request() -> None:
    other = replace(GIVEN, background_prompt="a field")
    first, second = build_splitter(SplitConfig()).split([GIVEN, other])
    assert isinstance(first, GroupSplit)
    assert isinstance(second, GroupSplit)
    assert first.request_sha256 != second.request_sha256


def test_instructions_of_the_prompt_set_win_whoever_splits() -> None:
    own = replace(OPEN, edit_instructions=((0, 1, "Let the kite become a car."),))
    plain, split = build_splitter(SplitConfig()).split([OPEN, own])
    assert isinstance(plain, GroupSplit)
    assert isinstance(split, GroupSplit)
    assert split.edit_instructions[0, 1] == EditInstruction("Let the kite become a car.", "given")
    assert split.edit_instructions[1, 0] == plain.edit_instructions[1, 0]
    assert split.background_prompt == plain.background_prompt


@pytest.mark.parametrize("group", [OPEN, GIVEN])
def test_other_instructions_make_another_request(group: PromptGroup) -> None:
    splitter = build_splitter(SplitConfig())
    own = replace(group, edit_instructions=((0, 1, "Let the kite become a car."),))
    (split,) = splitter.split([own])
    assert isinstance(split, GroupSplit)
    assert split.request_sha256 == splitter.request_sha256(own)
    assert split.request_sha256 != splitter.request_sha256(group)


def test_a_rule_does_not_repeat_what_the_prompt_set_says_of_the_other_direction() -> None:
    said = build_splitter(SplitConfig()).split([OPEN])[0]
    assert isinstance(said, GroupSplit)
    own = replace(OPEN, edit_instructions=((1, 0, said.edit_instructions[0, 1].text or ""),))
    (split,) = build_splitter(SplitConfig()).split([own])
    assert isinstance(split, GroupSplit)
    assert split.edit_instructions[1, 0].source == "given"
    assert split.edit_instructions[0, 1].text is None


def test_the_identity_names_splitter_and_version() -> None:
    assert build_splitter(SplitConfig()).identity.startswith("offline/")


def test_no_groups_give_no_splits() -> None:
    assert build_splitter(SplitConfig()).split([]) == []


README = Path(__file__).parents[3] / "coupled_core" / "splitting" / "README.md"
USE_OF_REGISTERED = """
import json
from coupled_core.config import RunConfig, SplitConfig, fingerprint
from coupled_core.records import PromptGroup
from coupled_core.runs.forecast import SplitCounter
from coupled_core.runs.plan import name_requests
from coupled_core.runs.planned import PlannedGroup
from coupled_core.id_set import IdSet
from coupled_core.reservoir import Reservoir
from coupled_core.splitting.splitter import build_splitter, describe_splitter, settle_split
from coupled_core.splitting.splitter import spent_usd

config = settle_split(RunConfig.model_validate({"split": {"splitter": "at-sign"}}))
group = PromptGroup("g", ("a red fox @ a wood", "an owl @ a wood"), "set", 0)
other = PromptGroup("h", ("a red fox @ a wood", "an owl @ a field"), "set", 1)
given = PromptGroup("i", ("a fox @ a wood", "an owl"), "set", 2,
                    background_prompt="a den", entity_prompts=("a fox", "an owl"))
splitter = build_splitter(config.split)
splitter.prepare(lambda: [group, other, given], 3)
split, rejection, taken = splitter.split([group, other, given])
counter, name = SplitCounter(config.split, IdSet(), Reservoir(0)), name_requests(config.split)[1]
for each in (group, other, given):
    counter.count(PlannedGroup(each, name(each), ()), is_done=False)
forecast = counter.forecast()
print(json.dumps({
    "identity": splitter.identity,
    "background": split.background_prompt,
    "entities": split.entity_prompts,
    "edit": split.edit_instructions[0, 1].text,
    "rejected": rejection.message,
    "taken": taken.source,
    "described": describe_splitter(config.split, config.split),
    "spent": spent_usd(config.split, "account"),
    "named": name(group) == split.request_sha256,
    "forecast": [forecast.splitter, forecast.is_paid],
    "counted": [forecast.groups_to_ask, forecast.groups_given],
}))
try:
    SplitConfig(splitter="at-sing")
except ValueError as error:
    print(error)
"""


def test_a_key_alone_sends_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-made-up")
    assert build_splitter(SplitConfig()).identity.startswith("offline/")
    assert settle_split(RunConfig()).split.splitter == "offline"


def test_a_model_is_asked_only_under_a_cap_or_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-made-up")
    config = SplitConfig(splitter="anthropic", cache_uri=str(tmp_path))
    with pytest.raises(ConfigError, match=r"say --max-llm-usd USD .* or --no-cap"):
        build_splitter(config)
    for limit in ({"max_llm_usd": 1.0}, {"no_cap": True}):
        assert "anthropic" in build_splitter(config.model_copy(update=limit)).identity
    with pytest.raises(ConfigError, match="leave one of them out"):
        build_splitter(config.model_copy(update={"max_llm_usd": 1.0, "no_cap": True}))


def test_a_splitter_of_another_package_works_as_the_readme_says(tmp_path: Path) -> None:
    module, entry_points = re.findall(
        r"```(?:python|toml)\n(.*?)```", README.read_text(), re.DOTALL
    )
    (tmp_path / "my_splitters.py").write_text(module)
    named = tomllib.loads(entry_points)["project"]["entry-points"]["coupled_images.splitters"]
    installed = tmp_path / "my_splitters-1.0.dist-info"
    installed.mkdir()
    (installed / "entry_points.txt").write_text(
        "[coupled_images.splitters]\n" + "".join(f"{n} = {v}\n" for n, v in named.items())
    )
    path = os.pathsep.join([str(README.parents[2]), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", USE_OF_REGISTERED],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, _, problem = done.stdout.partition("\n")
    assert json.loads(found) == {
        "identity": "at-sign/1",
        "background": "a wood",
        "entities": ["a red fox", "an owl"],
        "edit": "Replace the red fox with an owl.",
        "rejected": "the backgrounds differ",
        "taken": "given",
        "described": "at-sign",
        "spent": 0.0,
        "named": True,
        "forecast": ["at-sign/1", False],
        "counted": [2, 1],
    }
    assert "expected one of auto, offline, anthropic, at-sign" in problem


def test_a_splitter_that_nobody_registered_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match="expected one of auto, offline, anthropic"):
        SplitConfig(splitter="at-sign")
