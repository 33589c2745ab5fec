"""The groups that people read, and what is right of the splits that the rules accept."""

from dataclasses import replace

import pytest

from coupled_core.records import EditInstruction, GroupSplit, Rejection, RejectReason
from coupled_core.research.evaluation.intervals import wilson_interval
from coupled_core.research.split_precision import (
    SplitVerdict,
    WildGroup,
    judge_split,
    measure_precision,
    read_wild_groups,
    write_precision,
)
from coupled_core.splitting.offline import OfflineSplitter

GROUPS = read_wild_groups()


@pytest.fixture(scope="module")
def outcomes() -> list[SplitVerdict]:
    return measure_precision(OfflineSplitter(), GROUPS)


def _split(wild: WildGroup) -> GroupSplit:
    (split,) = OfflineSplitter().split([wild.group])
    assert isinstance(split, GroupSplit)
    return split


def test_the_set_is_large_and_of_many_kinds() -> None:
    assert len(GROUPS) >= 300
    assert len({wild.kind for wild in GROUPS}) >= 20
    assert {wild.part for wild in GROUPS} == {"tuning", "held back", "fresh"}
    assert len({wild.group.prompts for wild in GROUPS}) == len(GROUPS)


def test_every_accepted_split_was_read_as_it_comes_out(outcomes: list[SplitVerdict]) -> None:
    unread = [
        w.group.prompts for w, o in zip(GROUPS, outcomes, strict=True) if o == SplitVerdict.UNREAD
    ]
    assert unread == []


def test_what_is_accepted_of_unseen_groups_is_right(outcomes: list[SplitVerdict]) -> None:
    unseen = [o for w, o in zip(GROUPS, outcomes, strict=True) if w.part != "tuning"]
    accepted = [outcome for outcome in unseen if outcome != SplitVerdict.REFUSED]
    share = wilson_interval(accepted.count(SplitVerdict.RIGHT), len(accepted))
    assert share.mean >= 0.98
    assert share.low >= 0.95


def test_kinds_that_cannot_be_told_by_words_are_refused_whole(outcomes: list[SplitVerdict]) -> None:
    refused = {"tags", "several sentences", "pronouns and shared places", "quotations"}
    refused |= {"another language"}
    for wild, outcome in zip(GROUPS, outcomes, strict=True):
        assert outcome == SplitVerdict.REFUSED or wild.kind not in refused, wild.group.prompts


def test_a_split_counts_as_right_only_as_it_was_read() -> None:
    wild = next(wild for wild in GROUPS if wild.read is not None and not wild.read.wrong)
    split = _split(wild)
    assert judge_split(wild, split) == SplitVerdict.RIGHT
    assert judge_split(wild, replace(split, background_prompt="In a zoo.")) == SplitVerdict.UNREAD
    other = {**split.edit_instructions, (0, 1): EditInstruction("Do something.", "rule")}
    assert judge_split(wild, replace(split, edit_instructions=other)) == SplitVerdict.UNREAD
    assert judge_split(replace(wild, read=None), split) == SplitVerdict.UNREAD
    rejection = Rejection(RejectReason.SPLIT_FAILED, "no")
    assert judge_split(wild, rejection) == SplitVerdict.REFUSED


def test_what_was_read_as_wrong_is_wrong() -> None:
    wild = next(wild for wild in GROUPS if wild.read is not None and wild.read.wrong)
    assert judge_split(wild, _split(wild)) == SplitVerdict.WRONG


def test_the_table_has_the_parts_last(outcomes: list[SplitVerdict]) -> None:
    lines = write_precision(GROUPS, outcomes).splitlines()
    assert [line.split("  ")[0] for line in lines[-4:]] == [
        "tuning",
        "held back",
        "fresh",
        "held back and fresh",
    ]
    assert "[" in lines[-1]
