"""Patterns of file names, and columns that the names of folders hold."""

import re
from urllib.parse import unquote

_WILDCARD = re.compile(r"[*?\[]")
_MARK = re.compile(r"(\*\*/|\*|\?|\[[^\]]+\])")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark write into a folder's name in the place of null."""

FolderColumns = tuple[tuple[str, str | None], ...]


def is_pattern(uri: str) -> bool:
    """Say whether a name holds `*`, `?` or a set of characters in brackets."""
    return _WILDCARD.search(uri) is not None


def cut_pattern(uri: str) -> tuple[str, str]:
    """Return the folder above all wildcards, and the pattern of names below it."""
    literal = _WILDCARD.split(uri, maxsplit=1)[0]
    root = literal[: literal.rfind("/") + 1]
    return root, uri[len(root) :]


def literal_prefix(pattern: str) -> str:
    """Return what all names of a pattern begin with."""
    return _WILDCARD.split(pattern, maxsplit=1)[0]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return what matches the keys that a pattern names, and those in the folders that it names.

    `*` and `?` stand for characters of one name, `**/` for any number of folders.
    """
    marks = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
    text = ""
    for part in _MARK.split(pattern):
        if part.startswith("[") and _MARK.fullmatch(part):
            # Shells negate a set by "!", regular expressions by "^".
            text += f"[^{part[2:]}" if part[1] == "!" else part
        else:
            text += marks.get(part, re.escape(part))
    return re.compile(f"{text}(/.*)?")


def read_folder_columns(key: str) -> FolderColumns:
    """Return the columns in a key's folders, as Hive names them: `seed=7/part.parquet`."""
    pairs = (folder.partition("=") for folder in key.split("/")[:-1])
    return tuple(
        (unquote(name), None if value == _HIVE_NULL else unquote(value))
        for name, mark, value in pairs
        if name and mark
    )
