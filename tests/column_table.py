"""The page of the manifest's columns, made from the columns themselves.

`python -m tests.column_table` writes it anew.
"""

from pathlib import Path

from coupled_core.dataset import columns
from coupled_core.dataset.columns import COLUMNS, Column

PAGE = Path(columns.__file__).parent / "COLUMNS.md"
_BEGIN = "<!-- Made by `python -m tests.column_table`; change columns.py instead. -->"
_END = "<!-- End of the columns. -->"
_HEAD = "| column | type | filled by | meaning |\n|---|---|---|---|"


def render_table() -> str:
    """Return a Markdown table with one row a column."""
    return "\n".join([_HEAD, *map(_render_row, COLUMNS)])


def replace_table(text: str) -> str:
    """Return a page with its table as it should be.

    Raises:
        ValueError: the two markers are not there.
    """
    before, found, rest = text.partition(_BEGIN)
    _, also_found, after = rest.partition(_END)
    if not (found and also_found):
        raise ValueError(f"expected the lines {_BEGIN!r} and {_END!r} around the table")
    return f"{before}{_BEGIN}\n\n{render_table()}\n\n{_END}{after}"


def _render_row(column: Column) -> str:
    stage = f"{column.stage}, in every row" if column.required else column.stage
    meaning = column.meaning.replace("|", "\\|")
    return f"| `{column.name}` | {column.type} | {stage} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text()))
