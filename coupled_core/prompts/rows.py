"""Rows of a prompt set as they stand in the files, in either of two forms, joined to groups.

Nothing is judged here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any

import pyarrow as pa

from coupled_core.errors import PromptSetError
from coupled_core.prompts.columns import (
    INSTRUCTIONS,
    INTEGERS,
    SETTINGS,
    Form,
    find_form,
    known_columns,
)
from coupled_core.prompts.files import InputFile, open_file

_BATCH_ROWS = 1024


@dataclass(frozen=True)
class RawGroup:
    """One group by column names of the wide form, with what was wrong with reading it."""

    source_file: str
    file_index: int
    source_row: int
    """From 0; of the long form the first row."""
    values: dict[str, Any]
    extra: dict[str, Any]
    """Unknown columns. Long form: a list of values, one a prompt."""
    problems: tuple[str, ...] = field(default=())


def read_raw_groups(files: Sequence[InputFile]) -> Iterator[RawGroup]:
    """Yield every group of a set, in order, holding one record batch at a time.

    In the long form the rows of a group must stand together; they may run on into the next file.

    Raises:
        PromptSetError: a file is unreadable, has wrong columns, or another form than the first.
    """
    form = _common_form(files)
    rows = (row for index in range(len(files)) for row in _read_rows(files[index], index, form))
    return _join_groups(rows, form)


def table_raw_groups(table: pa.Table, name: str) -> Iterator[RawGroup]:
    """Yield every group of a table, which is called `name` in errors and in `source_file`.

    Raises:
        PromptSetError: it has wrong columns.
    """
    form = find_form(name, table.schema)
    rows: list[RawGroup] = []
    for batch in table.to_batches():
        rows += _raw_rows(batch, name, 0, len(rows), form)
    return _join_groups(rows, form)


def _join_groups(rows: Iterable[RawGroup], form: Form) -> Iterator[RawGroup]:
    if form == "wide":
        return iter(rows)
    return (_join_rows(list(same)) for _, same in groupby(rows, key=_group_key))


def _common_form(files: Sequence[InputFile]) -> Form:
    """Look at every schema before the first row: a wrong last file should not cost hours."""
    forms: list[Form] = []
    for file in files:
        with open_file(file) as opened:
            forms.append(find_form(file.name, opened.schema))
        if forms[-1] != forms[0]:
            raise PromptSetError(
                f"{file.name} is in {forms[-1]} form (column "
                f"{'prompts' if forms[-1] == 'wide' else 'prompt'}), but {files[0].name} is in "
                f"{forms[0]} form: expected one form in the whole set"
            )
    return forms[0]


def _read_rows(file: InputFile, file_index: int, form: Form) -> Iterator[RawGroup]:
    with open_file(file) as opened:
        first_row = 0
        for batch in opened.iter_batches(_BATCH_ROWS):
            yield from _raw_rows(batch, file.name, file_index, first_row, form)
            first_row += batch.num_rows


def _raw_rows(
    batch: pa.RecordBatch, file_name: str, file_index: int, first_row: int, form: Form
) -> Iterator[RawGroup]:
    known = known_columns(form)
    for row_number, (row, problems) in enumerate(_decode(batch), start=first_row):
        values = {name: value for name, value in row.items() if name in known}
        problems += tuple(_settle_integers(values))
        extra = {name: _to_json(value) for name, value in row.items() if name not in known}
        yield RawGroup(file_name, file_index, row_number, values, extra, problems)


_MAX_EXACT_DOUBLE = 2**53


def _settle_integers(values: dict[str, Any]) -> Iterator[str]:
    """Put integers in the place of whole doubles, and None in that of NaN; yield what is neither.

    A double holds no integer above 2^53 for certain: the one in the file may not be the one meant.
    """
    for name in INTEGERS:
        value = values.get(name)
        if not isinstance(value, float | Decimal):
            continue
        values[name] = None
        if math.isnan(value):
            continue
        if not math.isfinite(value) or value != int(value):
            yield f"column {name}: got {value}, expected a whole number"
        elif isinstance(value, float) and abs(value) > _MAX_EXACT_DOUBLE:
            yield (
                f"column {name}: got {value:.0f} as a double, which cannot hold it exactly; "
                "expected a column of integers"
            )
        else:
            values[name] = int(value)


def _to_json(value: Any) -> Any:
    """Return a carried value without numbers that JSON does not have: NaN is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {name: _to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    return value


def _decode(batch: pa.RecordBatch) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """Turn a batch into Python rows; cell by cell only where one cannot be had (not UTF-8)."""
    try:
        return [(row, ()) for row in batch.to_pylist()]
    except (ValueError, OverflowError):
        return [_decode_row(batch, index) for index in range(batch.num_rows)]


def _decode_row(batch: pa.RecordBatch, index: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    row: dict[str, Any] = {}
    problems = []
    for name in batch.schema.names:
        cell = batch.column(name)[index]
        try:
            row[name] = cell.as_py()
        except UnicodeDecodeError as error:
            shown = bytes(error.object)[max(0, error.start - 12) : error.end + 12]
            problems.append(f"column {name}: got the bytes {shown!r}, expected valid UTF-8")
            row[name] = None
        except (ValueError, OverflowError) as error:
            problems.append(f"column {name}: {error}; expected a value that Python can hold")
            row[name] = None
    return row, tuple(problems)


def _group_key(row: RawGroup) -> tuple[str | None, tuple[int, int]]:
    """Rows without a readable group_id belong to nobody; each stays alone."""
    group_id = row.values["group_id"]
    place = (row.file_index, row.source_row)
    return (group_id, (0, 0)) if group_id is not None else (None, place)


def _join_rows(rows: Sequence[RawGroup]) -> RawGroup:
    first = rows[0]
    values = {"group_id": first.values["group_id"], "prompts": [r.values["prompt"] for r in rows]}
    problems = [problem for row in rows for problem in row.problems]
    for name in SETTINGS:
        found = list(dict.fromkeys(row.values.get(name) for row in rows))
        values[name] = found[0]
        if len(found) > 1:
            problems.append(f"column {name}: got {found[:3]!r}, expected one value for the group")
    for name in INSTRUCTIONS:
        said = [row.values[name] for row in rows if row.values.get(name) is not None]
        values[name] = said[0] if said else None
        if any(value != said[0] for value in said):
            problems.append(f"column {name}: got {said[:3]!r}, expected one value for the group")
    entities = [row.values.get("entity_prompt") for row in rows]
    values["entity_prompts"] = entities if any(e is not None for e in entities) else None
    names = list(dict.fromkeys(name for row in rows for name in row.extra))
    return RawGroup(
        source_file=first.source_file,
        file_index=first.file_index,
        source_row=first.source_row,
        values=values,
        extra={name: [row.extra.get(name) for row in rows] for name in names},
        problems=tuple(problems),
    )
