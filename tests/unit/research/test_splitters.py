"""The hand-checked groups, the grade of an answer, and how the offline splitter does on them."""

from dataclasses import replace
from pathlib import Path

import pytest

from coupled_core.config import DEFAULT_PRICES
from coupled_core.records import GroupSplit, Rejection, RejectReason
from coupled_core.research import splitters as program
from coupled_core.research.splitters import (
    CheckedGroup,
    Grade,
    SplitterFinding,
    count_by_kind,
    grade_answer,
    measure_splitter,
    read_checked_groups,
    write_table,
)
from coupled_core.splitting.offline import OfflineSplitter
from tests.messages_server.process import RunningServer

MEADOW = next(checked for checked in read_checked_groups() if checked.kind == "scene first")
HOPELESS = next(checked for checked in read_checked_groups() if checked.background is None)
RIGHT = GroupSplit(
    background_prompt="In a vibrant meadow.",
    entity_prompts=("An eagle soars.", "A red fox runs."),
    edit_instructions={},
    variation_kind="entity_swap",
    source="given",
    request_sha256="0",
)


@pytest.fixture(scope="module")
def findings() -> list[SplitterFinding]:
    return measure_splitter(OfflineSplitter(), read_checked_groups())


def test_the_set_is_large_varied_and_says_what_its_prompts_say() -> None:
    groups = read_checked_groups()
    assert len(groups) >= 100
    assert len({checked.kind for checked in groups}) >= 20
    assert {len(checked.group.prompts) for checked in groups} == {2, 3, 4}
    assert len({checked.group.group_id for checked in groups}) == len(groups)
    assert len({checked.group.prompts for checked in groups}) == len(groups)
    for checked in groups:
        _check_words(checked)


def _check_words(checked: CheckedGroup) -> None:
    if checked.background is None:
        assert checked.entities == checked.not_background == ()
        return
    assert checked.background
    assert len(checked.entities) == len(checked.group.prompts)
    for words, prompt in zip(checked.entities, checked.group.prompts, strict=True):
        assert words
        assert all(word in prompt.casefold() for word in words), (words, prompt)


def test_a_right_split_is_right_and_a_missing_one_failed() -> None:
    assert grade_answer(MEADOW, RIGHT) == (Grade.RIGHT, "")
    rejection = Rejection(RejectReason.SPLIT_FAILED, "no idea")
    assert grade_answer(MEADOW, rejection) == (Grade.FAILED, "no idea")
    assert grade_answer(HOPELESS, rejection) == (Grade.RIGHT, "")


@pytest.mark.parametrize(
    ("background", "entities", "problem"),
    [
        ("In a meadow.", ("An eagle soars.", "A red fox runs."), "lacks 'vibrant meadow'"),
        ("In a vibrant meadow.", ("It soars.", "A red fox runs."), "lacks 'eagle'"),
        ("In a vibrant meadow.", ("An eagle.", "A fox.", "A cat."), "3 entities, expected 2"),
        ("In a vibrant meadow, a fox.", ("An eagle.", "A fox."), "names 'fox'"),
        (
            "In a vibrant meadow.",
            ("An eagle in a vibrant meadow.", "A fox."),
            "names 'vibrant meadow'",
        ),
    ],
)
def test_wrong_splits_are_told_apart(
    background: str, entities: tuple[str, ...], problem: str
) -> None:
    grade, text = grade_answer(
        MEADOW, replace(RIGHT, background_prompt=background, entity_prompts=entities)
    )
    assert grade == Grade.WRONG
    assert problem in text


def test_any_split_of_prompts_without_a_common_scene_is_wrong() -> None:
    grade, problem = grade_answer(HOPELESS, RIGHT)
    assert grade == Grade.WRONG
    assert "expected no split" in problem


def test_words_are_found_as_words_and_signs_anywhere() -> None:
    foxes = replace(RIGHT, entity_prompts=("An eagle soars.", "Red foxes run."))
    assert grade_answer(MEADOW, foxes)[1] == "the entity 'Red foxes run.' lacks 'fox'"
    japanese = next(c for c in read_checked_groups() if c.kind == "Japanese")
    split = replace(
        RIGHT,
        background_prompt="桜の咲く公園で。",
        entity_prompts=("猫が眠っている。", "犬が走っている。"),
    )
    assert grade_answer(japanese, split) == (Grade.RIGHT, "")


def test_the_offline_splitter_is_never_wrong_on_the_set(findings: list[SplitterFinding]) -> None:
    wrong = [f"{f.group_id}: {f.problem}" for f in findings if f.grade == Grade.WRONG]
    assert wrong == []


def test_the_offline_splitter_splits_some_of_what_is_plain(findings: list[SplitterFinding]) -> None:
    counts = count_by_kind(findings)
    for kind in ("scene last", "scene first", "mixed order", "many prompts", "position"):
        assert counts[kind][Grade.RIGHT] >= 0.25 * counts[kind].total(), kind
    assert counts["all"][Grade.RIGHT] >= 0.3 * len(findings)


def test_the_table_has_a_row_a_kind_and_the_total_last(findings: list[SplitterFinding]) -> None:
    lines = write_table(count_by_kind(findings)).splitlines()
    assert len(lines) == 2 + len({finding.kind for finding in findings})
    assert lines[0].split() == ["kind", "groups", "right", "failed", "wrong"]
    assert lines[-1].startswith("all ")
    assert len({len(line) for line in lines}) == 1


def test_the_program_prints_table_and_problems(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-made-up")  # which asks nobody by itself
    program.main(["--problems"])
    printed = capsys.readouterr().out
    assert OfflineSplitter.identity in printed
    assert "failed French 1: cannot be split offline" in printed
    assert "anthropic/" not in printed


def test_with_a_key_the_model_is_measured_after_its_price_is_said_and_paid_once(
    capsys: pytest.CaptureFixture[str], messages_server: RunningServer, tmp_path: Path
) -> None:
    for _ in range(2):
        program.main(["--cache", str(tmp_path), "--splitter", "anthropic", "--problems"])
        price, identity, *table = capsys.readouterr().out.splitlines()
        assert price.startswith("claude-haiku-5-5 is asked about 199 groups")
        assert price.endswith("it stops at 1 USD")
        assert identity.startswith("anthropic/claude-haiku-5-5/instruction-")
        assert any(line.startswith("all ") for line in table)
    counters = messages_server.counters()
    assert counters["paid"]["distinct_prompts"] == len(read_checked_groups())
    assert counters["paid"]["max_by_prompts"] == 1
    said = float(price.partition(" out, ")[2].partition(" USD")[0])
    tokens, listed = counters["tokens"], DEFAULT_PRICES["claude-haiku-5-5"]
    paid = tokens["online_input_tokens"] * listed.input_usd
    paid += tokens["online_output_tokens"] * listed.output_usd
    # The server takes four characters for a token.
    assert said == pytest.approx(paid / 1e6, rel=0.3)


def test_the_cap_holds_for_the_measurement_and_a_missing_key_is_named(
    messages_server: RunningServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["--cache", str(tmp_path), "--splitter", "anthropic", "--max-llm-usd", "0.001"]
    with pytest.raises(SystemExit, match=r"error: stopped at the cap of 0\.001 USD"):
        program.main(arguments)
    assert messages_server.counters()["paid"]["online"] < 20
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(SystemExit, match="set ANTHROPIC_API_KEY"):
        program.main(arguments)
