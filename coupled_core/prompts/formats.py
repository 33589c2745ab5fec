"""Formats of prompt sets, known by the endings of names, and by content where there is no name."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from coupled_core.errors import PromptSetError

_BY_ENDING = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
ENDINGS = ", ".join(_BY_ENDING)
"""Endings of files that are read, for people."""
_PARQUET_SIGN = b"PAR1"
_OTHER_CONTENT = {
    _PARQUET_SIGN: "holds Parquet: call it .parquet",
    b"\x1f\x8b": "is compressed by gzip: let its name end in .gz, or unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: let its name end in .zst, or unpack it",
    b"PK\x03\x04": "is a zip archive or an Excel workbook: save it as CSV in UTF-8",
    b"\xff\xfe": "is text in UTF-16: save it in UTF-8",
    b"\xfe\xff": "is text in UTF-16: save it in UTF-8",
}
"""First bytes of what is no text in UTF-8."""
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Format:
    """How the rows of a file are written."""

    name: str
    compression: str | None = None


def read_ending(name: str) -> Format | None:
    """Return the format that a file's name says, in capitals or not; None: it says none."""
    # Two empty ones in front, so that a name without endings has a last and a last but one, too.
    *_, before, last = "", "", *PurePosixPath(name.lower()).suffixes
    if last in _BY_ENDING:
        return Format(_BY_ENDING[last])
    if last in _COMPRESSIONS and before in _BY_ENDING and before != ".parquet":
        return Format(_BY_ENDING[before], _COMPRESSIONS[last])
    return None


def find_format(name: str, key: str, head: bytes) -> Format:
    """Return the format of a file that was named by a user.

    Args:
        name: As the user wrote it.
        key: Its own name, behind all links.
        head: Its first bytes; they say whether a file of another ending is Parquet.

    Raises:
        PromptSetError: neither its name nor its content says one.
    """
    found = read_ending(key) or (Format("Parquet") if head.startswith(_PARQUET_SIGN) else None)
    if found is None:
        raise PromptSetError(
            f"{name}: its ending says no format, expected one of {ENDINGS} (text also with .gz or "
            ".zst behind it)"
        )
    return found


def guess_ending(lines: list[bytes]) -> str:
    """Return the ending that a stream without a name should have, by its first lines.

    An object is JSON Lines; columns separated by tabs alone are TSV; all other text is CSV.
    """
    if lines and lines[0].startswith(_PARQUET_SIGN):
        return ".parquet"
    texts = (line.removeprefix(_UTF8_MARK).strip(b" \r\n") for line in lines)
    first = next((text for text in texts if text and not text.startswith(b"#")), b"")
    if first.startswith((b"{", b"[")):
        return ".jsonl"
    return ".tsv" if b"\t" in first and b"," not in first else ".csv"


def describe_other_content(head: bytes, expected: Format) -> str | None:
    """Say what a file is by its first bytes, if it is not the text that was expected."""
    found = (text for sign, text in _OTHER_CONTENT.items() if head.startswith(sign))
    other = next(found, None)
    return f"is called {expected.name}, but {other}" if other else None
