"""Documents are read within bounds; whatever is odd about one is said."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coupled_core.documents import DocumentError, parse_json, parse_toml, parse_yaml, read_file

Parse = Callable[..., Any]
_LAUGHS = "\n".join(
    [
        "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)),
    ]
)


@pytest.mark.parametrize(
    ("parse", "data", "expected"),
    [
        (parse_json, b"", "it is empty"),
        (parse_json, b" \n", "it is empty"),
        (parse_json, b'{"a": 1, "a": 2}', "it has the key 'a' twice"),
        (parse_json, b'{"x": {"a": 1, "a": 1}}', "it has the key 'a' twice"),
        (parse_json, b"[" * 200_000, "nested too deeply"),
        (parse_json, b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deeply"),
        (parse_json, b'{"a": NaN}', "it holds NaN"),
        (parse_json, b'{"a": -Infinity}', "it holds -Infinity"),
        (parse_json, b'{"a": 1e999}', "not finite"),
        (parse_json, b"9" * 5000, "digits"),
        (parse_json, b"9" * 50, "more than 128 bits"),
        (parse_json, b'"\xff"', "not UTF-8"),
        (parse_json, '{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (parse_json, b'"\\ud800"', "half a character"),
        (parse_json, b'{"a": 1} {"b"', "Extra data"),
        (parse_toml, b"a = 1\na = 2", "Cannot overwrite|twice"),
        (parse_toml, b"a = " + b"[" * 5000, "nested too deeply"),
        (parse_toml, b"a = \xff", "not UTF-8"),
        (parse_yaml, b"a: 1\na: 2", "it has the key 'a' twice"),
        (parse_yaml, b"[" * 5000, "nested too deeply"),
        (parse_yaml, b"&a [*a]", "nested too deeply|recursive"),
        (parse_yaml, _LAUGHS.encode(), "it stands for more than"),
        (parse_yaml, b"!!python/object/apply:os.system ['true']", "could not determine"),
        (parse_yaml, b"!!timestamp never", "."),
        (parse_yaml, b"!!int ''", "."),
        (parse_yaml, b"!!bool maybe", "."),
        (parse_yaml, b"? [a]\n: 1", "unhashable"),
        (parse_yaml, b"a: \x00", "special characters|not allowed"),
    ],
)
def test_what_is_odd_about_a_document_is_said(parse: Parse, data: bytes, expected: str) -> None:
    with pytest.raises(DocumentError, match=expected):
        parse(data)


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_a_mark_before_the_text_is_no_part_of_it(parse: Parse) -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_aliases_and_merges_of_ordinary_files_are_read() -> None:
    text = b"base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}"
    assert parse_yaml(text) == {"base": {"a": 1, "b": 2}, "more": {"a": 1, "b": 3}}


@pytest.mark.parametrize("parse", [parse_json, parse_toml, parse_yaml])
def test_what_is_too_large_is_not_parsed(parse: Parse) -> None:
    with pytest.raises(DocumentError, match="larger than 100 bytes"):
        parse(b"# " + b"x" * 100, 100)


def test_no_more_of_a_file_is_read_than_it_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DocumentError, match="larger than 1,000 bytes"):
        read_file(path, 1000)


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(DocumentError, match="expected a regular file"):
            read_file(path)


def test_a_name_that_no_file_has_is_refused() -> None:
    with pytest.raises(DocumentError, match="no file can have this name"):
        read_file(Path("a\0b"))


def test_folders_and_dead_links_are_errors_of_the_operating_system(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "link")
