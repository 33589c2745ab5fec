"""Splits and instructions that a prompt set brings along are compared with its prompts."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import PromptGroup, QuarantinedRow

PROMPTS = ["A tin robot waits on a quiet pier", "A wooden whale waits on a quiet pier"]
ENTITIES = ["A tin robot.", "A wooden whale."]
PIER = "On a quiet pier."
FORTH = "Replace the tin robot with a wooden whale."
BACK = "Replace the wooden whale with a tin robot."


def read(tmp_path: Path, row: dict[str, Any], **settings: Any) -> PromptGroup | QuarantinedRow:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.Table.from_pylist([{"group_id": "g", "prompts": PROMPTS, **row}]), path)
    config = PromptSetConfig(uri=str(path), on_bad_row="quarantine", **settings)
    (item,) = read_prompt_set(config)
    return item


def split(background: str = PIER, entities: list[str] | None = None) -> dict[str, Any]:
    return {"background_prompt": background, "entity_prompts": entities or ENTITIES}


def problem_of(tmp_path: Path, row: dict[str, Any]) -> str:
    item = read(tmp_path, row)
    return item.message if isinstance(item, QuarantinedRow) else ""


@pytest.mark.parametrize(
    "row",
    [
        split(),
        split(entities=["A photo of a tin robot", "whale, wooden, waiting"]),
        split(background="A pier with old lamps"),
        {"prompts": ["Un chat noir dans un parc", "Un chien noir dans un parc"]}
        | split("Dans un parc", ["Un chat noir", "Un chien noir"]),
        {"prompts": ["一只红狐在雪林中", "一只灰鸮在雪林中"]}
        | split("在雪林中", ["一只红狐", "一只灰鸮"]),
        {"prompts": ["A white hare on white snow", "A brown hare on white snow"]}
        | split("On white snow", ["A white hare", "A brown hare"]),
    ],
)
def test_a_split_in_the_words_of_its_prompts_is_taken(tmp_path: Path, row: dict[str, Any]) -> None:
    item = read(tmp_path, row)
    assert isinstance(item, PromptGroup), item
    assert item.entity_prompts == tuple(row["entity_prompts"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (split(entities=ENTITIES[::-1]), "prompt 0 does not have 'wooden', 'whale'; prompt 1 has"),
        (split(entities=["A steel robot.", ENTITIES[1]]), "prompt 0 does not have 'steel'"),
        (split(entities=["A tin robot.", "A robot."]), "prompt 1 does not have 'robot'; prompt 0"),
        (
            {"prompts": ["A red kite in fog", "A red kite in a fog bank"]}
            | split("In fog", ["A red kite", "a red KITE"]),
            "got 'A red kite' for prompts 0 and 1; expected entities that differ",
        ),
        (split("A tin robot on a quiet pier."), "names 'tin' of entity_prompts[0]"),
        (
            {"prompts": ["An otter sleeps in a bay", "An otter dives in a bay"]}
            | split("An otter in a bay", ["An otter sleeping", "An otter diving"]),
            "names 'otter' of entity_prompts[0]",
        ),
        (split("In a dense jungle."), "of which no word is in prompt 0"),
        (
            split(entities=["机器人", "鲸鱼"]),
            "of which no word is in the prompts; correct the split",
        ),
    ],
)
def test_a_split_that_contradicts_its_prompts_is_a_bad_row(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    item = read(tmp_path, row)
    assert isinstance(item, QuarantinedRow)
    assert item.group_id == "g"
    assert message in item.message
    assert read_trusting(tmp_path, row)


def read_trusting(tmp_path: Path, row: dict[str, Any]) -> bool:
    return isinstance(read(tmp_path, row, trust_splits=True), PromptGroup)


def test_a_contradiction_stops_a_run_that_quarantines_nothing(tmp_path: Path) -> None:
    read(tmp_path, split(entities=ENTITIES[::-1]))
    config = PromptSetConfig(uri=str(tmp_path / "set.parquet"))
    with pytest.raises(PromptSetError, match=r"row 0: group 'g': .*'wooden', 'whale'"):
        list(read_prompt_set(config))


def test_instructions_of_a_pair_come_in_two_columns(tmp_path: Path) -> None:
    item = read(tmp_path, {"edit_instruction": FORTH, "inverse_instruction": BACK})
    assert isinstance(item, PromptGroup)
    assert sorted(item.edit_instructions) == [(0, 1, FORTH), (1, 0, BACK)]
    assert item.extra == {}


def test_one_instruction_is_enough(tmp_path: Path) -> None:
    prompts = ["Two mugs on a shelf in a bar", "Three mugs on a shelf in a bar"]
    row = {"prompts": prompts, "edit_instruction": "Add another mug."}
    item = read(tmp_path, row)
    assert isinstance(item, PromptGroup), item
    assert item.edit_instructions == ((0, 1, "Add another mug."),)


def test_a_larger_group_lists_its_instructions_by_image(tmp_path: Path) -> None:
    prompts = [*PROMPTS, "A paper crane waits on a quiet pier"]
    listed = [
        {"from": 0, "to": 2, "instruction": "Replace the tin robot with a paper crane."},
        {"from": 2, "to": 1, "instruction": "Replace the paper crane with a wooden whale."},
    ]
    item = read(tmp_path, {"prompts": prompts, "edit_instructions": listed})
    assert isinstance(item, PromptGroup), item
    assert [(i, j) for i, j, _ in item.edit_instructions] == [(0, 2), (2, 1)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"edit_instruction": "Show the pier."}, "from image 0 to 1: got 'Show the pier.', which"),
        ({"edit_instruction": BACK}, "which is to"),
        ({"edit_instruction": ""}, "expected text that is not blank"),
        ({"edit_instruction": FORTH, "inverse_instruction": FORTH}, "from image 1 to 0"),
        (
            {
                "edit_instruction": FORTH,
                "edit_instructions": [{"from": 0, "to": 1, "instruction": FORTH}],
            },
            "got more than one, expected one",
        ),
        (
            {"edit_instructions": [{"from": 0, "to": 2, "instruction": FORTH}]},
            "expected two different numbers from 0 to 1",
        ),
        (
            {
                "edit_instructions": [
                    {"from": 0, "to": 1, "instruction": FORTH},
                    {"from": 1, "to": None, "instruction": None},
                ]
            },
            "column edit_instructions (1 to None): got null, expected text",
        ),
        (
            {"prompts": [*PROMPTS, "A crane on a quiet pier"], "edit_instruction": FORTH},
            "expected edit_instructions, a list of {from, to, instruction}",
        ),
    ],
)
def test_an_instruction_that_cannot_be_used_is_a_bad_row(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    assert message in problem_of(tmp_path, row)


def test_trusted_splits_leave_instructions_their_form_to_keep(tmp_path: Path) -> None:
    row = {"edit_instruction": "Something else, please."}
    assert read_trusting(tmp_path, row)
    broken = {"edit_instruction": 'Say "something else, please.'}
    assert not read_trusting(tmp_path, broken)


def test_with_a_row_a_prompt_one_row_may_have_the_instruction(tmp_path: Path) -> None:
    rows = [
        {"group_id": "g", "prompt": PROMPTS[0], "edit_instruction": None},
        {"group_id": "g", "prompt": PROMPTS[1], "edit_instruction": FORTH},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    (item,) = read_prompt_set(PromptSetConfig(uri=str(tmp_path / "set.parquet")))
    assert isinstance(item, PromptGroup)
    assert item.edit_instructions == ((0, 1, FORTH),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "A crane", "entity_prompts": "crane"}, "call it 'entity_prompt'"),
        ({"prompts": PROMPTS, "entity_prompt": "crane"}, "call it 'entity_prompts'"),
        ({"prompts": PROMPTS, "prompt": "A crane"}, "leave one of them out"),
        ({"prompts": PROMPTS, "edit_instructions": [FORTH]}, "list<struct<from: integer, to"),
    ],
)
def test_a_column_of_the_other_form_is_not_passed_over(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    pq.write_table(pa.Table.from_pylist([{"group_id": "g", **row}]), tmp_path / "set.parquet")
    with pytest.raises(PromptSetError, match=message):
        list(read_prompt_set(PromptSetConfig(uri=str(tmp_path / "set.parquet"))))
