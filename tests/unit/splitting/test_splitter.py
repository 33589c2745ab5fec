"""Which split a group gets: the one that is given with it, else the configured splitter's."""

from dataclasses import replace

import pytest

from coupled_core.config import SplitConfig
from coupled_core.records import EditInstruction, GroupSplit, PromptGroup, Rejection
from coupled_core.splitting.splitter import build_splitter

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
