"""The Parquet files of a prompt set, wherever they lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.errors import NotFoundError, PromptSetError
from coupled_core.miniature import miniature_folder
from coupled_core.storage.store import ObjectStore, open_uri

SHIPPED_SETS = {
    "miniature": "example.parquet",
    "miniature-train": "train.parquet",
    "miniature-test": "test.parquet",
}
"""The prompt sets that come with the package, by the name that stands for a location."""
_READ_AHEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """One file of a prompt set."""

    name: str
    """As the user would write it; goes into errors and into `PromptGroup.source_file`."""
    store: ObjectStore
    key: str

    def read_etag(self) -> str:
        """Return what changes with the content: SHA-256 of a local file, the server's tag on S3."""
        return self.store.stat(self.key).etag or ""


def list_input_files(uri: str) -> list[InputFile]:
    """Return the files of a prompt set, a folder's in the order of their keys.

    Names that start with "_" or "." are left out, as Spark's and Hive's readers do.

    Raises:
        PromptSetError: nothing is there, or a folder holds no Parquet file.
    """
    if uri in SHIPPED_SETS:
        return [_find_shipped(SHIPPED_SETS[uri])]
    try:
        store, key = open_uri(uri)
    except NotFoundError as error:
        raise PromptSetError(
            f"prompt set {uri!r} does not exist: expected a Parquet file, a folder of Parquet "
            f"files, an s3:// location of either, or one of {', '.join(SHIPPED_SETS)}"
        ) from error
    if key:
        return [InputFile(uri, store, key)]
    keys = [info.key for info in store.list("") if _is_data_file(info.key)]
    if not keys:
        raise PromptSetError(f"prompt set {uri!r} is a folder without any .parquet file")
    return [InputFile(f"{uri.rstrip('/')}/{key}", store, key) for key in keys]


@contextmanager
def open_parquet(file: InputFile) -> Iterator[pq.ParquetFile]:
    """Open a file so that a row group is never held in memory as a whole.

    Raises:
        PromptSetError: it is not a Parquet file, or breaks off while it is read.
    """
    with file.store.open_input(file.key) as handle:
        try:
            yield pq.ParquetFile(handle, pre_buffer=False, buffer_size=_READ_AHEAD_BYTES)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise PromptSetError(f"{file.name} is not a readable Parquet file: {reason}") from error


def _find_shipped(file_name: str) -> InputFile:
    store, key = open_uri(miniature_folder("prompts") / file_name)
    return InputFile(f"miniature/{file_name}", store, key)


def _is_data_file(key: str) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in key.split("/"))
    return key.lower().endswith(".parquet") and not hidden
