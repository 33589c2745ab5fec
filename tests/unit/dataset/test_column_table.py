"""The documented columns are those of the schema."""

import pytest

from coupled_core.dataset.columns import MANIFEST_SCHEMA
from tests.column_table import PAGE, render_table, replace_table


def test_the_table_of_columns_is_current() -> None:
    text = PAGE.read_text()
    assert replace_table(text) == text, "run python -m tests.column_table"


def test_every_column_has_one_row_with_its_type() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in render_table().split("\n")]
    assert rows[2:] == [[f"`{field.name}`", str(field.type)] for field in MANIFEST_SCHEMA]


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="around the table"):
        replace_table("# Datasets\n")
