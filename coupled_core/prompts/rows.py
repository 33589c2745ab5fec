"""Rows of a prompt set as they stand in the files, joined to groups, nothing judged yet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa

from coupled_core.errors import PromptSetError
from coupled_core.prompts.columns import SETTINGS, Form, find_form, known_columns
from coupled_core.prompts.files import InputFile, open_parquet

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
    if form == "wide":
        return rows
    return (_join_rows(list(same)) for _, same in groupby(rows, key=_group_key))


def _common_form(files: Sequence[InputFile]) -> Form:
    """Look at every schema before the first row: a wrong last file should not cost hours."""
    forms: list[Form] = []
    for file in files:
        with open_parquet(file) as parquet:
            forms.append(find_form(file.name, parquet.schema_arrow))
        if forms[-1] != forms[0]:
            raise PromptSetError(
                f"{file.name} is in {forms[-1]} form (column "
                f"{'prompts' if forms[-1] == 'wide' else 'prompt'}), but {files[0].name} is in "
                f"{forms[0]} form: expected one form in the whole set"
            )
    return forms[0]


def _read_rows(file: InputFile, file_index: int, form: Form) -> Iterator[RawGroup]:
    known = known_columns(form)
    with open_parquet(file) as parquet:
        first_row = 0
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
            for offset, (row, problems) in enumerate(_decode(batch)):
                values = {name: value for name, value in row.items() if name in known}
                extra = {name: value for name, value in row.items() if name not in known}
                yield RawGroup(file.name, file_index, first_row + offset, values, extra, problems)
            first_row += batch.num_rows


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
