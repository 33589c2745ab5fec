"""The files of a prompt set, wherever they lie."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from coupled_core.errors import NotFoundError, PromptSetError
from coupled_core.miniature import miniature_folder
from coupled_core.prompts.formats import ENDINGS, read_ending
from coupled_core.prompts.patterns import (
    FolderColumns,
    compile_pattern,
    cut_pattern,
    is_pattern,
    literal_prefix,
    read_folder_columns,
)
from coupled_core.prompts.standard_input import (
    STANDARD_INPUT,
    STANDARD_INPUT_NAME,
    keep_standard_input,
)
from coupled_core.storage.open_store import open_store, open_uri
from coupled_core.storage.store import ObjectInfo, ObjectStore

SHIPPED_SETS = {
    "miniature": "example.parquet",
    "miniature-train": "train.parquet",
    "miniature-test": "test.parquet",
}
"""The prompt sets that come with the package, by the name that stands for a location."""


@dataclass(frozen=True)
class InputFile:
    """One file of a prompt set."""

    name: str
    """As the user would write it; goes into errors and into `PromptGroup.source_file`."""
    store: ObjectStore
    key: str
    folder_columns: FolderColumns = ()
    """What the names of its folders say of each of its rows."""

    def read_etag(self) -> str:
        """Return what changes with the content: SHA-256 of a local file, the server's tag on S3.

        The same file in a folder that says something else is another input.
        """
        etag = self.store.stat(self.key).etag or ""
        return " ".join([etag, *(f"{name}={value}" for name, value in self.folder_columns)])


def list_input_files(uri: str) -> list[InputFile]:
    """Return the files of a prompt set, those of a folder or a pattern in the order of their names.

    Folders such as `variation_kind=pose` give the rows of their files a column. Names that start
    with "_" or "." are left out, as Spark's and Hive's readers do.

    Raises:
        PromptSetError: nothing is there, or a folder holds no file of a known ending.
    """
    if uri == STANDARD_INPUT:
        store, key = open_uri(keep_standard_input())
        return [InputFile(STANDARD_INPUT_NAME, store, key)]
    if uri in SHIPPED_SETS:
        return [_find_shipped(SHIPPED_SETS[uri])]
    try:
        # What exists is taken at its name first: brackets and stars may stand in names of files.
        store, key = open_uri(uri)
    except NotFoundError as error:
        if is_pattern(uri) and (found := _match_files(uri)):
            return found
        raise PromptSetError(
            f"prompt set {uri!r} does not exist: expected a file ({ENDINGS}), a folder of such "
            "files, a pattern such as sets/*.csv, an s3:// location of these, - for standard "
            f"input, or one of {', '.join(SHIPPED_SETS)}"
        ) from error
    if key:
        return [InputFile(uri, store, key)]
    files = list(_list_folder(store, uri, store.list("")))
    if not files:
        raise PromptSetError(
            f"prompt set {uri!r} is a folder without any file that ends in {ENDINGS}"
        )
    return files


def _list_folder(store: ObjectStore, uri: str, found: Iterable[ObjectInfo]) -> Iterator[InputFile]:
    for key in (info.key for info in found):
        if _is_data_file(key):
            yield InputFile(f"{uri.rstrip('/')}/{key}", store, key, read_folder_columns(key))


def _match_files(uri: str) -> list[InputFile]:
    """Return the files that a pattern names, and those in the folders that it names."""
    root, pattern = cut_pattern(uri)
    if "://" in uri:
        store, matcher = open_store(root.rstrip("/")), compile_pattern(pattern)
        # Lists no more of the bucket than what every match begins with.
        listed = store.list(literal_prefix(pattern))
        return list(_list_folder(store, root, (i for i in listed if matcher.fullmatch(i.key))))
    # A listing would go through everything below the root, which may be somebody's home.
    names = glob.glob(pattern, root_dir=root or ".", recursive=True)  # noqa: PTH207 (takes `**x`)
    paths = (root + name for name in names)
    found = {file.name: file for path in paths for file in _list_matched(path, root)}
    # By name, so that a file that is matched twice (itself and by its folder) counts once.
    return [found[name] for name in sorted(found)]


def _list_matched(path: str, root: str) -> Iterator[InputFile]:
    store, key = open_uri(path)
    files = [InputFile(path, store, key)] if key else _list_folder(store, path, store.list(""))
    for file in files:
        below = file.name[len(root) :]
        if _is_data_file(below):
            yield replace(file, folder_columns=read_folder_columns(below))


def _find_shipped(file_name: str) -> InputFile:
    store, key = open_uri(miniature_folder("prompts") / file_name)
    return InputFile(f"miniature/{file_name}", store, key)


def _is_data_file(key: str) -> bool:
    # Such as _SUCCESS and .crc files of Spark.
    hidden = any(part.startswith(("_", ".")) for part in key.split("/"))
    return read_ending(key) is not None and not hidden
