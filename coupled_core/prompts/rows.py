"""Rows of a prompt set as they stand in the files, in either of two forms, joined to groups.

Nothing is judged here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

import pyarrow as pa

from coupled_core.prompts.columns import (
    INSTRUCTIONS,
    INTEGERS,
    SETTINGS,
    Form,
    find_form,
    known_columns,
)
from coupled_core.prompts.files import InputFile
from coupled_core.prompts.open_file import open_file
from coupled_core.prompts.tables import TableRow, decode_batch


class RawGroup(NamedTuple):
    """One group by column names of the wide form, with what was wrong with reading it."""

    source_file: str
    file_index: int
    source_row: int
    """From 0; of the long form the first row."""
    values: dict[str, Any]
    extra: dict[str, Any]
    """Unknown columns. Long form: a list of values, one a prompt."""
    problems: tuple[str, ...] = ()
    is_broken: bool = False
    """The values are not known for certain: what else is wrong with them means nothing."""


def read_raw_groups(files: Sequence[InputFile]) -> Iterator[RawGroup]:
    """Yield every group of a set, in order, holding a few thousand rows at a time.

    In the long form the rows of a group must stand together; they may run on into the next file.

    Raises:
        PromptSetError: a file is unreadable or has wrong columns.
    """
    # All columns are looked at before the first row: a wrong last file should not cost hours.
    found = [(index, file, _find_file_form(file)) for index, file in enumerate(files)]
    # Files of one form in a row are read as one, so that a group may run on from file to file.
    for form, same in groupby(found, key=lambda each: each[2]):
        rows = (row for index, file, _ in same for row in _read_rows(file, index, form))
        yield from _join_groups(rows, form)


def table_raw_groups(table: pa.Table, name: str) -> Iterator[RawGroup]:
    """Yield every group of a table, which is called `name` in errors and in `source_file`.

    Raises:
        PromptSetError: it has wrong columns.
    """
    form = find_form(name, table.schema)
    rows = (row for batch in table.to_batches() for row in decode_batch(batch))
    return _join_groups(_raw_rows(rows, name, 0, form), form)


def _join_groups(rows: Iterable[RawGroup], form: Form) -> Iterator[RawGroup]:
    if form == "wide":
        return iter(rows)
    return (_join_rows(list(same)) for _, same in groupby(rows, key=_group_key))


def _find_file_form(file: InputFile) -> Form:
    with open_file(file) as opened:
        return find_form(file.name, opened.schema)


def _read_rows(file: InputFile, file_index: int, form: Form) -> Iterator[RawGroup]:
    with open_file(file) as opened:
        yield from _raw_rows(opened.iter_rows(), file.name, file_index, form)


def _raw_rows(
    rows: Iterable[TableRow], file_name: str, file_index: int, form: Form
) -> Iterator[RawGroup]:
    known = known_columns(form)
    absent: dict[str, Any] = {"group_id": None, "prompts" if form == "wide" else "prompt": None}
    for row_number, (row, problems, is_broken) in enumerate(rows):
        values = {**absent, **row}
        unknown = () if known.issuperset(row) else [name for name in row if name not in known]
        extra = {name: _to_json(values.pop(name)) for name in unknown}
        found = tuple(problems)
        if not _INTEGERS.isdisjoint(row):
            found = (*found, *_settle_integers(values))
        yield RawGroup(file_name, file_index, row_number, values, extra, found, is_broken)


_INTEGERS = frozenset(INTEGERS)
_MAX_EXACT_DOUBLE = 2**53
_MAX_OF_ANY_TYPE = 2**64


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
        if not _is_whole(value):
            yield f"column {name}: got {value}, expected a whole number of 64 bits"
        elif isinstance(value, float) and abs(value) > _MAX_EXACT_DOUBLE:
            yield (
                f"column {name}: got {value:.0f} as a double, which cannot hold it exactly; "
                "expected a column of integers"
            )
        else:
            values[name] = int(value)


def _is_whole(number: float | Decimal) -> bool:
    return math.isfinite(number) and abs(int(number)) < _MAX_OF_ANY_TYPE and number == int(number)


def _to_json(value: Any) -> Any:
    """Return a carried value without numbers that JSON does not have: NaN is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {name: _to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    return value


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
        # Settings stand in every row of the group, so a null beside a value is a contradiction,
        # too.
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
        problems=tuple(dict.fromkeys(problems)),
        is_broken=any(row.is_broken for row in rows),
    )
