"""Reads small files that people, other programs or a failing disk may have written.

A parser by itself takes the last of two equal keys, reads `1e999` as infinity, recurses as deep as
a file is nested and waits for ever at a named pipe. What comes out of here is bounded, says each
thing once, and can be written as text again.
"""

import json
import math
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

MAX_FILE_BYTES = 16 << 20
"""The largest file that is written by hand or for one purpose, such as a schedule."""
MAX_STORED_BYTES = 1 << 30
"""The largest document of a dataset, which grows with it: a snapshot names every part."""
_MAX_DEPTH = 64
_MAX_VALUES = 50_000_000
_LARGEST_INTEGER = 2**128  # tokenizers write 10**30 for "no limit"
_MAX_SHOWN_CHARS = 60
# What PyYAML raises for values that its tags do not fit, beside errors of its own.
_YAML_SLIPS = (ValueError, LookupError, AttributeError, TypeError)


DAMAGE = (ValueError, TypeError, LookupError, AttributeError)
"""What reading values out of a document raises that is of another shape than was written."""


class DocumentError(ValueError):
    """A document is not what it should be; the text says how and does not name the file."""


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        DocumentError: it is something else, such as a device or a pipe, or is too large.
        OSError: it cannot be read.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise DocumentError("no file can have this name") from error
    # Opening a named pipe would wait for a writer, and a device need not end.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DocumentError("expected a regular file, got a device, a pipe or a socket")
    with path.open("rb") as file:
        # One byte more than allowed tells that it is too large, whatever its size.
        data = file.read(max_bytes + 1)
    _check_size(len(data), max_bytes)
    return data


def parse_json(data: bytes | str, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """Return what a JSON document says.

    Raises:
        DocumentError: it is none, is empty, too large or nested too deeply, has a key twice, or
            holds numbers or characters that do not survive being written again.
    """
    text = _decode(data, max_bytes)
    if not text.strip():
        raise DocumentError("it is empty")
    value = read_json(text)
    check_value(value)
    return value


def read_json(
    text: str,
    *,
    parse_float: Callable[[str], float] = float,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """Return what a JSON text says, whatever its values: `check_value` looks at those.

    Args:
        text: Of any size.
        parse_float: Makes a number with a point or an exponent; by itself 1e999 is infinite.
        parse_constant: Makes something of NaN and Infinity; None: they are refused.

    Raises:
        DocumentError: it is no JSON, has a key twice, or is nested deeper than Python can follow.
            Its cause is the parser's error, where that had one.
    """
    try:
        with _named(ValueError):
            return json.loads(
                text,
                object_pairs_hook=_unique,
                parse_float=parse_float,
                parse_constant=parse_constant or _refuse_constant,
            )
    except DocumentError as error:
        slip = error.__cause__
        if not isinstance(slip, json.JSONDecodeError):
            raise
        line = f"line {slip.lineno}, " if slip.lineno > 1 else ""
        raise DocumentError(f"{slip.msg} at {line}character {slip.colno}") from slip


def parse_toml(data: bytes | str, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """Return what a TOML document says.

    Raises:
        DocumentError: as `parse_json`.
    """
    import tomllib

    with _named(ValueError):
        value = tomllib.loads(_decode(data, max_bytes))
    check_value(value, may_be_infinite=True)
    return value


def parse_yaml(data: bytes | str, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """Return what a YAML document of plain values says; None: it is empty.

    Raises:
        DocumentError: as `parse_json`; or its aliases stand for too much.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Refuses keys that come twice; PyYAML takes the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            written = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            names = [self.construct_object(key, deep=True) for key in written]
            _refuse_twice(name for name in names if isinstance(name, str))
            made: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            return made

    with _named(yaml.YAMLError, *_YAML_SLIPS):
        value = yaml.load(_decode(data, max_bytes), Loader)
    # A few lines of aliases can stand for millions of values.
    check_value(value, max_values=max(1000, len(data)), may_be_infinite=True)
    return value


@contextmanager
def _named(*kinds: type[Exception]) -> Iterator[None]:
    """Turn what a parser raises, errors of some kinds or Python's own limit, into ours."""
    try:
        yield
    except RecursionError as error:
        raise DocumentError("it is nested too deeply") from error
    except DocumentError:
        raise
    except kinds as error:
        raise DocumentError(" ".join(str(error).split())) from error


def check_value(
    value: Any, *, max_values: int = _MAX_VALUES, may_be_infinite: bool = False
) -> None:
    """Refuse what was read if it is nested too deeply, too much, or cannot be written again.

    JSON has no infinite numbers and no NaN; YAML and TOML have.

    Raises:
        DocumentError: saying which.
    """
    # A list instead of recursion, which would itself end on deep nesting.
    waiting, num_values = [(value, 0)], 0
    while waiting:
        each, depth = waiting.pop()
        num_values += 1
        if depth > _MAX_DEPTH:
            raise DocumentError(f"it is nested too deeply: expected {_MAX_DEPTH} levels at most")
        if num_values > max_values:
            raise DocumentError(f"it stands for more than {max_values:,} values")
        if isinstance(each, dict):
            waiting += [(part, depth + 1) for pair in each.items() for part in pair]
        elif isinstance(each, list | tuple | set):
            waiting += [(part, depth + 1) for part in each]
        else:
            _check_scalar(each, may_be_infinite=may_be_infinite)


def _check_scalar(value: Any, *, may_be_infinite: bool) -> None:
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise DocumentError(f"it holds half a character: {_shorten(value)}") from error
    elif isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise DocumentError("it holds a whole number of more than 128 bits")
    elif isinstance(value, float) and not (may_be_infinite or math.isfinite(value)):
        raise DocumentError(f"it holds a number that is not finite ({value})")


def _decode(data: bytes | str, max_bytes: int) -> str:
    _check_size(len(data), max_bytes)
    try:
        # Editors on Windows put a mark before the text, which is not part of it.
        return data.decode("utf-8-sig") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is not UTF-8: {error.reason} at byte {error.start}") from error


def _check_size(num_bytes: int, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise DocumentError(f"it is larger than {max_bytes:,} bytes")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse_twice(name for name, _ in pairs)
    return found


def _refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DocumentError(f"it has the key {_shorten(name)} twice")
        seen.add(name)


def _refuse_constant(name: str) -> NoReturn:
    raise DocumentError(f"it holds {name}, which is no number of JSON")


def _shorten(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}...")
