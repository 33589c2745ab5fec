"""One file of a prompt set, open: its own columns, then those of its folders."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.errors import PromptSetError
from coupled_core.prompts.columns import INTEGERS
from coupled_core.prompts.files import InputFile
from coupled_core.prompts.formats import Format, find_format
from coupled_core.prompts.tables import ParquetTable, Table, TableRow
from coupled_core.prompts.text_tables import CsvTable, JsonLinesTable, TextFile

_READ_AHEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class OpenFile:
    """An open file of a prompt set."""

    file: InputFile
    table: Table

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns.

        Raises:
            PromptSetError: a folder names a column that the file has, or one of another type.
        """
        schema = self.table.schema
        for name, kind, _ in self._list_folder_columns():
            if name in schema.names:
                raise PromptSetError(
                    f"{self.file.name}: column {name!r} stands in the file and in the name of its "
                    "folder: expected it in one of them"
                )
            schema = schema.append(pa.field(name, kind))
        return schema

    @property
    def num_rows(self) -> int:
        """Rows of the file; CSV and JSON Lines are read as a whole for it."""
        return self.table.num_rows

    def iter_rows(self) -> Iterator[TableRow]:
        """Yield the rows in order, in bounded memory."""
        of_folders = {name: value for name, _, value in self._list_folder_columns()}
        for row in self.table.iter_rows():
            yield row._replace(values={**row.values, **of_folders}) if of_folders else row

    def _list_folder_columns(self) -> Iterator[tuple[str, pa.DataType, Any]]:
        for name, text in self.file.folder_columns:
            kind = pa.int64() if name in INTEGERS else pa.string()
            try:
                value = pa.scalar(text, pa.string()).cast(kind)
            except pa.ArrowInvalid as error:
                raise PromptSetError(
                    f"{self.file.name}: the folder's name gives column {name!r} the value "
                    f"{text!r}, expected an integer"
                ) from error
            yield name, kind, value.as_py()


@contextmanager
def open_file(file: InputFile) -> Iterator[OpenFile]:
    """Open a file so that never more of it is in memory than a few thousand rows.

    Raises:
        PromptSetError: it is not of the format that its name says, or breaks off while it is read.
    """
    with file.store.open_input(file.key) as handle:
        # Peeking leaves the bytes for the reader that follows.
        form = find_format(file.name, file.key, handle.peek(4))
        try:
            yield OpenFile(file, _open_table(file, form, handle))
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise PromptSetError(
                f"{file.name} is not a readable {form.name} file: {reason}"
            ) from error


def _open_table(file: InputFile, form: Format, handle: Any) -> Table:
    if form.name == "Parquet":
        # pre_buffer would read the whole row group before its first row is handed out.
        options = {"pre_buffer": False, "buffer_size": _READ_AHEAD_BYTES}
        return ParquetTable(pq.ParquetFile(handle, **options))
    # Opened anew for each pass: text is read once for its columns and once for its rows.
    text = TextFile(file.name, form, lambda: file.store.open_input(file.key))
    if form.name == "JSON Lines":
        return JsonLinesTable(text)
    return CsvTable(text, "\t" if form.name == "TSV" else ",")
