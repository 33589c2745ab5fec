"""Groups given as mappings are read as the same rows of a Parquet file are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.prompt_set import IN_MEMORY, take_prompt_set
from coupled_core.records import QuarantinedRow
from tests.unit.prompts.test_prompt_set import GOOD, read, write

FAIL, QUARANTINE = PromptSetConfig(), PromptSetConfig(on_bad_row="quarantine")
WIDE = [GOOD, {**GOOD, "group_id": "h", "seed": 5, "note": "ours"}]
LONG = [
    {"group_id": "g", "prompt": prompt, "entity_prompt": entity, "background_prompt": "A meadow."}
    for prompt, entity in zip(GOOD["prompts"], ("A kite.", "A car."), strict=True)
]


@pytest.mark.parametrize("rows", [WIDE, LONG])
def test_they_are_the_groups_of_the_same_rows_in_a_file(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    uri = write(tmp_path / "set.parquet", rows)
    expected = [replace(item, source_file=IN_MEMORY) for item in read(uri)]
    given = take_prompt_set(iter(rows), FAIL)
    assert list(given.items) == expected
    assert given.file.num_rows == len(rows)


def test_bad_rows_are_named_by_number_and_can_be_set_aside() -> None:
    rows = [GOOD, {"group_id": "h", "prompts": ["alone"]}, GOOD]
    with pytest.raises(PromptSetError, match="2 bad rows") as caught:
        take_prompt_set(rows, FAIL)
    assert "<groups>, row 1: column prompts: got ['alone']" in str(caught.value)
    assert "which stands in <groups>, row 0 already" in str(caught.value)
    found = take_prompt_set(rows, QUARANTINE).items
    assert [isinstance(item, QuarantinedRow) for item in found] == [False, True, True]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "columns 'group_id' and 'prompts' are missing"),
        ([{"prompts": GOOD["prompts"]}], "column 'group_id' is missing"),
        ([{**GOOD, "prompts": ["a\ud800", "b"]}], "column 'prompts': .*surrogates not allowed"),
        ([{**GOOD, 1: 2}], "row 0: got .* expected a mapping from names of columns to values"),
        (["a kite"], "row 0: got 'a kite', expected a mapping"),
        ([{"group_id": "g"}], "column 'prompts' is missing"),
        ([{**GOOD, "seed": "seven"}], "column 'seed' has type string, expected integer"),
        ([GOOD, {**GOOD, "seed": 1.5}], "column seed: got 1.5, expected a whole number"),
        ([{**GOOD, "prompts": "a kite"}], "column 'prompts' has type string"),
        ([GOOD, {**GOOD, "prompts": ["a", 3]}], "column 'prompts': expected values of one type"),
        ([{**GOOD, "seed": 2**70}], "column 'seed': expected values of one type"),
    ],
)
def test_columns_of_a_wrong_type_are_refused(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(PromptSetError, match=words):
        take_prompt_set(rows, FAIL)


def test_equal_groups_have_equal_tags_and_others_another() -> None:
    tags = [take_prompt_set(rows, FAIL).file.etag for rows in (WIDE, list(WIDE), WIDE[:1])]
    assert tags[0] == tags[1] != tags[2]
    assert all(len(tag) == 64 for tag in tags)
