"""Prompt sets as text: CSV, TSV and JSON Lines, read by the standard library's parsers.

Arrow's own readers of these formats are not used, because what they do to a prompt set is silent:
a quote that is never closed swallows the rows behind it, dates become timestamps, whole numbers
become doubles, and the fields of one object appear in all others. These name the line instead.

Lines at the top that begin with "#" are comments. An empty cell is null, quoted or not. CSV has no
lists: a set has one prompt a row, or lists written as JSON.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import pyarrow as pa
from pyarrow import types

from coupled_core.documents import DocumentError, read_json
from coupled_core.errors import PromptSetError
from coupled_core.prompts.columns import INTEGERS, KINDS
from coupled_core.prompts.formats import Format, describe_other_content
from coupled_core.prompts.tables import TableRow, describe_bytes, shorten

MAX_LINE_CHARS = 1 << 24
MAX_COLUMNS = 1000
MAX_DEPTH = 50
"""Most lists and objects inside each other; Python's own limit ends a process in odd places."""
_TOO_DEEP = f"expected at most {MAX_DEPTH} lists and objects inside each other"
_WHOLE_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,30})(\.0*)?\s*")
_DELIMITERS = {",": "comma", "\t": "tab"}


@dataclass(frozen=True)
class TextFile:
    """Lines of a file, read anew each time."""

    name: str
    format: Format
    open: Callable[[], io.BufferedReader]

    def iter_lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines below the comments, with their numbers from 1 and their ends.

        Bytes that are not UTF-8 come as surrogates.

        Raises:
            PromptSetError: it holds something else than text, or a line without an end.
        """
        is_comment = True
        for number, line in enumerate(self._iter_all_lines(), start=1):
            is_comment = is_comment and (line.startswith("#") or not line.strip())
            if not is_comment:
                yield number, line

    def _iter_all_lines(self) -> Iterator[str]:
        with self.open() as raw:
            stream = self._unpack(raw)
            if other := describe_other_content(stream.peek(4), self.format):
                raise PromptSetError(f"{self.name} {other}")
            # utf-8-sig takes the mark away that Windows puts before a text.
            text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
            number = 0
            while line := text.readline(MAX_LINE_CHARS):
                number += 1
                if len(line) == MAX_LINE_CHARS:
                    raise PromptSetError(
                        f"{self.name}, line {number}: got more than {MAX_LINE_CHARS:,} characters "
                        f"without an end; expected {self.format.name} with a row a line"
                    )
                yield line

    def _unpack(self, raw: io.BufferedReader) -> io.BufferedReader:
        if self.format.compression is None:
            return raw
        return io.BufferedReader(pa.CompressedInputStream(raw, self.format.compression))


@dataclass(frozen=True)
class CsvTable:
    """Rows of cells; the first names the columns."""

    file: TextFile
    delimiter: str

    @cached_property
    def schema(self) -> pa.Schema:
        """Names of the columns, each with the type that it should have.

        Raises:
            PromptSetError: there is no header, or a column has no name.
        """
        name, (_, line) = self.file.name, next(self.file.iter_lines(), (0, ""))
        if not line:
            raise PromptSetError(f"{name} is empty: expected a line with the names of its columns")
        if line.lstrip().startswith(("{", "[")):
            raise PromptSetError(
                f"{name} begins with {shorten(line)}, expected a line with the names of columns; "
                "JSON Lines are files called .jsonl"
            )
        _, header = next(self._iter_records())
        if problem := next(filter(None, map(_find_bad_bytes, header)), None):
            raise PromptSetError(f"{name}, names of columns: {problem}")
        names = [each.strip() for each in header]
        if "" in names:
            raise PromptSetError(
                f"{name}: column {names.index('')} (from 0) has no name: give it one, or leave it "
                "out (pandas: index=False)"
            )
        if len(names) == 1 and (other := next((c for c in ";\t," if c in names[0]), None)):
            raise PromptSetError(
                f"{name}: got {shorten(names[0])} as the name of the only column: cells seem to be "
                f"separated by {other!r}, expected {self.delimiter!r} ({self.file.format.name})"
            )
        return _make_schema(names, pa.string())

    @cached_property
    def num_rows(self) -> int:
        """Rows below the header; the file is read for it."""
        return max(0, sum(1 for _ in self._iter_records()) - 1)

    def iter_rows(self) -> Iterator[TableRow]:
        """Yield the rows; one with too many or too few cells is broken.

        Raises:
            PromptSetError: a quote is open or stands where none may: where its row ends, and what
                is in the rows behind it, cannot be known.
        """
        records = self._iter_records()
        next(records, None)
        for number, cells in records:
            yield self._read_row(number, cells)

    def _iter_records(self) -> Iterator[tuple[int, list[str]]]:
        lines, last = self.file.iter_lines(), [0]

        def iter_texts() -> Iterator[str]:
            for number, line in lines:
                last[0] = number
                yield line

        # Strict, since by default csv takes a stray quote as a part of the text.
        reader = csv.reader(iter_texts(), delimiter=self.delimiter, strict=True)
        while True:
            before = last[0]
            try:
                cells = next(reader, None)
            except csv.Error as error:
                # An open quote has swallowed the lines up to here.
                many = f"lines {before + 1} to {last[0]}" if last[0] > before + 1 else ""
                raise PromptSetError(
                    f"{self.file.name}, {many or f'line {last[0]}'}: {error}; expected each double "
                    "quote that is opened to be closed before the next "
                    f"{_DELIMITERS[self.delimiter]}, those inside of a text to be doubled, and no "
                    f"cell of more than {csv.field_size_limit():,} characters"
                ) from error
            if cells is None:
                return
            if cells:  # else the line is blank
                yield last[0], cells

    def _read_row(self, number: int, cells: Sequence[str]) -> TableRow:
        names = self.schema.names
        if len(cells) != len(names):
            problem = (
                f"line {number}: got {len(cells)} cells ({shorten(self.delimiter.join(cells))}), "
                f"expected {len(names)} ({', '.join(names)}); text that holds a "
                f"{_DELIMITERS[self.delimiter]} stands in double quotes"
            )
            # The group is known, so that no other row of it is taken for the whole of it.
            group_id = dict(zip(names, cells, strict=False)).get("group_id") or None
            known = {"group_id": group_id if _find_bad_bytes(group_id or "") is None else None}
            return TableRow(known, [problem], is_broken=True)
        values: dict[str, Any] = {}
        problems = []
        for name, cell in zip(names, cells, strict=True):
            try:
                values[name] = _parse_cell(name, cell)
            except ValueError as error:
                values[name] = None
                problems.append(f"column {name}: {error}")
        return TableRow(values, problems)


@dataclass(frozen=True)
class JsonLinesTable:
    """One JSON object a line; a key that one of them lacks is null there."""

    file: TextFile

    @property
    def schema(self) -> pa.Schema:
        """Every key that a line has, in the order of appearance; the file is read for it.

        Raises:
            PromptSetError: no line is an object, or they have more keys than a table has columns.
        """
        return _make_schema(self._scan[0], pa.null())

    @property
    def num_rows(self) -> int:
        """Lines that are not blank."""
        return self._scan[1]

    @cached_property
    def _scan(self) -> tuple[list[str], int]:
        names: dict[str, None] = {}
        num_rows, first_problem = 0, ""
        for row in self._iter_objects():
            num_rows += 1
            names.update(dict.fromkeys(row.values))
            first_problem = first_problem or "".join(row.problems[:1])
            if len(names) > MAX_COLUMNS:
                raise PromptSetError(
                    f"{self.file.name}: its objects have more than {MAX_COLUMNS:,} different keys; "
                    "expected the same few in each line"
                )
        if not names:
            problem = first_problem or "expected a JSON object a line"
            empty = "" if num_rows else " is empty"
            raise PromptSetError(f"{self.file.name}{empty}: {problem}")
        return list(names), num_rows

    def iter_rows(self) -> Iterator[TableRow]:
        """Yield the rows; a line that is no JSON object is broken."""
        names = self._scan[0]
        for row in self._iter_objects():
            whole = row._replace(values={name: row.values.get(name) for name in names})
            yield whole if row.is_broken else _check_kinds(whole)

    def _iter_objects(self) -> Iterator[TableRow]:
        for number, line in self.file.iter_lines():
            if line.strip():
                yield _read_object(number, line)


def _read_object(number: int, line: str) -> TableRow:
    try:
        row = _load_json(line.rstrip())
        if not isinstance(row, dict):
            raise ValueError("expected a JSON object a line, {...}")
    except ValueError as error:
        problem = f"line {number}: got {shorten(line.strip())}: {error}"
        return TableRow({}, [problem], is_broken=True)
    return TableRow(row)


def _check_kinds(row: TableRow) -> TableRow:
    """Put None in the place of values of a wrong kind, and say so."""
    wrong = [
        name
        for name, value in row.values.items()
        if value is not None and name in KINDS and not _is_right(name, value)
    ]
    problems = [
        f"column {name}: got {shorten(row.values[name])}, expected {KINDS[name].name}"
        for name in wrong
    ]
    return TableRow({**row.values, **dict.fromkeys(wrong)}, problems) if wrong else row


def _is_right(name: str, value: Any) -> bool:
    if name in INTEGERS:  # of any size: their bounds are told with the other bounds of a group
        return isinstance(value, int | float) and not isinstance(value, bool)
    return KINDS[name].holds(value)


def _make_schema(names: Sequence[str], unknown: pa.DataType) -> pa.Schema:
    return pa.schema([(n, KINDS[n].arrow_type if n in KINDS else unknown) for n in names])


def _parse_cell(name: str, cell: str) -> Any:
    """Return what a cell means in a column.

    Raises:
        ValueError: it means nothing there; the text says what was expected.
    """
    if not cell:
        return None
    _check_text(cell)
    if name in INTEGERS:
        match = _WHOLE_NUMBER.fullmatch(cell)
        if match is None:
            raise ValueError(f"got {shorten(cell)}, expected an integer, or nothing")
        return int(match[1])
    if name in KINDS and types.is_list(KINDS[name].arrow_type):
        return _parse_list(name, cell)
    return cell


def _parse_list(name: str, cell: str) -> Any:
    try:
        value = _load_json(cell)
    except ValueError:
        value = None
    if value is None or not KINDS[name].holds(value):
        advice = "; or write one prompt a row (columns group_id and prompt)"
        raise ValueError(
            f"got {shorten(cell)}, expected {KINDS[name].name} as JSON"
            f"{advice if name == 'prompts' else ''}"
        )
    return value


def _load_json(text: str) -> Any:
    """Parse JSON, and refuse what would not come back as it was.

    Raises:
        ValueError: the text says why.
    """
    _check_text(text)
    try:
        value = read_json(text, parse_float=_take_float, parse_constant=float)
        # Half of a surrogate pair can only come from an escape; looked for, since encoding all
        # texts takes time.
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except DocumentError as error:
        if isinstance(error.__cause__, RecursionError):
            raise ValueError(_TOO_DEEP) from error
        is_json = not isinstance(error.__cause__, json.JSONDecodeError)
        raise ValueError(str(error) if is_json else f"not JSON, {error}") from error
    except UnicodeEncodeError as error:
        raise ValueError("it holds half of a surrogate pair, expected whole characters") from error
    if _is_too_deep(text, value):
        raise ValueError(_TOO_DEEP)
    return value


def _check_text(text: str) -> None:
    if problem := _find_bad_bytes(text):
        raise ValueError(problem)


def _find_bad_bytes(text: str) -> str | None:
    """Say which bytes of a text are not UTF-8; None: all of them are."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8", "surrogateescape").decode()
    except UnicodeDecodeError as error:
        return describe_bytes(error)
    return None


def _take_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text} is too large for a double")
    return number


def _is_too_deep(text: str, value: Any) -> bool:
    # So few brackets cannot be too deep; nearly all lines end here.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        children = chain.from_iterable(
            each.values() if isinstance(each, dict) else each for each in level
        )
        level = [child for child in children if isinstance(child, dict | list)]
    return depth > MAX_DEPTH
