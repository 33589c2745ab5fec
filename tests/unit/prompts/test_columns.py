"""Columns of a prompt set: what each one means, and that none is ignored without a word."""

from typing import Any

import pyarrow as pa
import pytest

from coupled_core.errors import PromptSetError
from coupled_core.prompts.columns import (
    UnknownColumn,
    describe_unknown,
    find_form,
    list_unknown_columns,
)

WIDE = {"group_id": pa.string(), "prompts": pa.list_(pa.string())}
LONG = {"group_id": pa.string(), "prompt": pa.string()}


def _refuse(columns: dict[str, Any]) -> str:
    with pytest.raises(PromptSetError) as caught:
        find_form("set.parquet", pa.schema(columns))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Seed", "seed"),
        ("n_seeds", "num_seeds"),
        ("numSeeds", "num_seeds"),
        ("Variation Kind", "variation_kind"),
        ("background_prompts", "background_prompt"),
        ("entity_prompt", None),  # an error of its own in this form
        ("photographer", None),
    ],
)
def test_an_unknown_column_is_named_with_what_was_perhaps_meant(
    name: str, meant: str | None
) -> None:
    schema = pa.schema({**WIDE, "entity_prompts": pa.list_(pa.string()), name: pa.int64()})
    assert list_unknown_columns(schema, "wide") == (UnknownColumn(name, meant),)


def test_known_columns_are_not_listed_and_unknown_ones_in_one_line() -> None:
    schema = pa.schema({**LONG, "seed": pa.int64(), "Width": pa.int64(), "note": pa.string()})
    unknown = list_unknown_columns(schema, find_form("set.parquet", schema))
    assert describe_unknown(unknown).endswith("`extra`: Width (did you mean width?), note")
    assert describe_unknown(()) == ""


@pytest.mark.parametrize("name", ["guidance_scale", "guidanceScale", "cfg", "Num Inference Steps"])
def test_settings_of_the_run_are_refused_as_columns(name: str) -> None:
    assert "is one value for a whole run; say --" in _refuse({**WIDE, name: pa.float64()})


@pytest.mark.parametrize("name", ["negative_prompt", "Negative Prompt", "sampler"])
def test_what_no_stage_takes_is_refused(name: str) -> None:
    assert f"column {name!r} would be ignored" in _refuse({**LONG, name: pa.string()})


def test_everything_that_would_be_ignored_is_told_at_once() -> None:
    columns = {"Seed": pa.int64(), "negative_prompt": pa.string(), "cfg": pa.float64()}
    message = _refuse({**WIDE, **columns})
    for part in ("'negative_prompt'", "'cfg'", "Seed (did you mean seed?)"):
        assert part in message
    assert "extra`: Seed (did you mean seed?)" in message


def test_both_forms_at_once_are_refused() -> None:
    message = _refuse({**WIDE, "prompt": pa.string()})
    assert "column 'prompt' means nothing beside 'prompts'" in message
    assert "leave one of them out" in message


def test_a_name_of_the_other_form_is_refused_with_the_right_one() -> None:
    assert "call it 'entity_prompt'" in _refuse({**LONG, "entity_prompts": pa.string()})


def test_a_misspelt_column_that_must_be_there_is_recognised() -> None:
    message = _refuse({"group_id": pa.string(), "Prompts": pa.list_(pa.string())})
    assert "column 'prompts' is missing" in message
    assert "is 'Prompts' meant for it?" in message


def test_all_columns_that_must_be_there_are_recognised_at_once() -> None:
    message = _refuse({"Group ID": pa.string(), "Prompt": pa.string()})
    assert "columns 'group_id' and 'prompt' are missing" in message
    assert "is 'Group ID' meant for group_id? is 'Prompt' meant for prompt?" in message


def test_numbered_columns_of_prompts_are_refused_with_the_forms_there_are() -> None:
    message = _refuse({"group_id": pa.string(), "prompt_0": pa.string(), "prompt_1": pa.string()})
    assert "put what stands in prompt_0, prompt_1 into rows, or into a list" in message


def test_a_prompt_in_capitals_beside_prompts_is_refused() -> None:
    assert "column 'Prompt' means nothing beside 'prompts'" in _refuse(
        {**WIDE, "Prompt": pa.string()}
    )


def test_names_that_cannot_be_printed_are_told_quoted() -> None:
    schema = pa.schema({**WIDE, "\x1b[31mred": pa.string(), "": pa.string()})
    told = describe_unknown(list_unknown_columns(schema, "wide"))
    assert told.endswith(r"'\x1b[31mred', ''")


def test_an_unknown_column_says_how_many_rows_it_concerns() -> None:
    assert str(UnknownColumn("Seed", "seed", 1200)) == "Seed (did you mean seed?; 1,200 rows)"
    assert str(UnknownColumn("note", None, 1)) == "note (1 row)"


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary(16),
        pa.list_(pa.binary()),
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        pa.map_(pa.string(), pa.binary()),
        pa.dictionary(pa.int32(), pa.binary()),
    ],
)
def test_bytes_are_refused_wherever_they_hide(kind: pa.DataType) -> None:
    message = _refuse({**WIDE, "image": kind})
    assert "column 'image' holds bytes" in message
    assert "put a path or an address in its place" in message


@pytest.mark.parametrize(
    "kind", [pa.decimal128(5, 2), pa.timestamp("us"), pa.map_(pa.string(), pa.int8())]
)
def test_other_values_are_carried(kind: pa.DataType) -> None:
    assert find_form("set.parquet", pa.schema({**WIDE, "taken": kind})) == "wide"
