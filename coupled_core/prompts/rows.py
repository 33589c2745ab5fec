"""Rows of a prompt set as they stand in the files, in either of two forms, joined to groups.

Nothing is judged here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import pyarrow as pa
from pyarrow import types

from coupled_core.errors import PromptSetError
from coupled_core.prompts.files import InputFile, open_parquet

Form = Literal["wide", "long"]
Check = Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_texts(kind: pa.DataType) -> bool:
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and _is_text(kind.value_type)


def _is_integer(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind))


def _is_instructions(kind: pa.DataType) -> bool:
    if not (types.is_list(kind) or types.is_large_list(kind)):
        return False
    entry = kind.value_type
    if not types.is_struct(entry) or {field.name for field in entry} != {
        "from",
        "to",
        "instruction",
    }:
        return False
    are_numbers = _is_integer(entry.field("from").type) and _is_integer(entry.field("to").type)
    return are_numbers and _is_text(entry.field("instruction").type)


_TEXT: tuple[str, Check] = ("string", _is_text)
_TEXTS: tuple[str, Check] = ("list<string>", _is_texts)
_INTEGER: tuple[str, Check] = ("integer", _is_integer)

_INSTRUCTIONS: tuple[str, Check] = (
    "list<struct<from: integer, to: integer, instruction: string>>",
    _is_instructions,
)

SETTINGS = ("seed", "num_seeds", "width", "height", "variation_kind", "background_prompt")
"""Optional columns that hold one value a group."""
INSTRUCTIONS = {
    "edit_instruction": _TEXT,
    "inverse_instruction": _TEXT,
    "edit_instructions": _INSTRUCTIONS,
}
"""Optional columns of a group; with a row a prompt it is enough that one row has them."""
_OPTIONAL = {
    **dict(zip(SETTINGS, (*[_INTEGER] * 4, _TEXT, _TEXT), strict=True)),
    **INSTRUCTIONS,
}
_REQUIRED: dict[Form, dict[str, tuple[str, Check]]] = {
    "wide": {"group_id": _TEXT, "prompts": _TEXTS},
    "long": {"group_id": _TEXT, "prompt": _TEXT},
}
_PER_PROMPT: dict[Form, dict[str, tuple[str, Check]]] = {
    "wide": {"entity_prompts": _TEXTS},
    "long": {"entity_prompt": _TEXT},
}
_PROMPTS: dict[Form, str] = {"wide": "prompts", "long": "prompt"}
_OF_OTHER_FORM: dict[Form, dict[str, str]] = {
    "wide": {"prompt": "prompts", "entity_prompt": "entity_prompts"},
    "long": {"entity_prompts": "entity_prompt"},
}
"""Columns that would be ignored in a form, and what they are called there."""


def known_columns(form: Form) -> frozenset[str]:
    """Return the columns that mean something to us; the others are carried through."""
    return frozenset(_REQUIRED[form]) | frozenset(_OPTIONAL) | frozenset(_PER_PROMPT[form])


def find_form(file_name: str, schema: pa.Schema) -> Form:
    """Check the columns of one file and say which form it is in.

    Raises:
        PromptSetError: a column is missing, stands there twice, or has the wrong type.
    """
    form: Form = "long" if "prompt" in schema.names and "prompts" not in schema.names else "wide"
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise PromptSetError(f"{file_name}: column {repeated[0]!r} stands there more than once")
    for name in _REQUIRED[form]:
        if name not in schema.names:
            found = ", ".join(schema.names) or "none"
            raise PromptSetError(
                f"{file_name}: column {name!r} is missing, found {found}; expected group_id and "
                "prompts (a row a group), or group_id and prompt (a row a prompt)"
            )
    for name, right in _OF_OTHER_FORM[form].items():
        if name in schema.names:
            raise PromptSetError(
                f"{file_name}: column {name!r} means nothing beside {_PROMPTS[form]!r} "
                f"and would be ignored: call it {right!r}, or leave it out"
            )
    for name, (expected, is_right) in {**_REQUIRED[form], **_OPTIONAL, **_PER_PROMPT[form]}.items():
        if name in schema.names:
            _check_type(file_name, schema.field(name), expected, is_right, name in _REQUIRED[form])
    return form


def _check_type(
    file_name: str, field: pa.Field, expected: str, is_right: Check, is_required: bool
) -> None:
    all_null = types.is_null(field.type) and not is_required
    if not all_null and not is_right(field.type):
        raise PromptSetError(
            f"{file_name}: column {field.name!r} has type {field.type}, expected {expected}"
        )


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
    with open_parquet(file) as parquet:
        first_row = 0
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
            yield from _raw_rows(batch, file.name, file_index, first_row, form)
            first_row += batch.num_rows


def _raw_rows(
    batch: pa.RecordBatch, file_name: str, file_index: int, first_row: int, form: Form
) -> Iterator[RawGroup]:
    known = known_columns(form)
    for row_number, (row, problems) in enumerate(_decode(batch), start=first_row):
        values = {name: value for name, value in row.items() if name in known}
        extra = {name: value for name, value in row.items() if name not in known}
        yield RawGroup(file_name, file_index, row_number, values, extra, problems)


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
