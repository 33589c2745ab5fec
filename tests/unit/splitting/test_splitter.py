"""Which split a group gets: the one that is given with it, else the configured splitter's."""

from dataclasses import replace

import pytest

from coupled_core.config import SplitConfig
from coupled_core.records import GroupSplit, PromptGroup, Rejection
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


def test_the_identity_names_splitter_and_version() -> None:
    assert build_splitter(SplitConfig()).identity.startswith("offline/")


def test_no_groups_give_no_splits() -> None:
    assert build_splitter(SplitConfig()).split([]) == []
