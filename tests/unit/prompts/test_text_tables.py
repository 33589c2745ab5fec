"""Prompt sets as CSV, TSV and JSON Lines: the same groups as from Parquet, or the line is named."""

import csv
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coupled_core.config import PromptSetConfig
from coupled_core.errors import CoupledError, PromptSetError
from coupled_core.prompts.prompt_set import describe_files, read_prompt_set
from coupled_core.records import PromptGroup, QuarantinedRow

HEADER = "group_id,prompt\n"
Record = PromptGroup | QuarantinedRow


def read(path: Path, content: str | bytes, on_bad_row: Any = "quarantine") -> list[Record]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_prompt_set(PromptSetConfig(uri=str(path), on_bad_row=on_bad_row)))


def refuse(path: Path, content: str | bytes) -> str:
    with pytest.raises(PromptSetError) as caught:
        read(path, content)
    assert str(path) in str(caught.value)
    return str(caught.value)


def messages(records: list[Record]) -> dict[int, str]:
    return {bad.source_row: bad.message for bad in records if isinstance(bad, QuarantinedRow)}


def describe(records: list[Record]) -> list[Any]:
    return [
        (g.group_id, g.prompts, g.seed, g.num_seeds, g.variation_kind, dict(g.extra))
        for g in records
        if isinstance(g, PromptGroup)
    ]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
GROUP = st.fixed_dictionaries(
    {
        "prompts": st.lists(TEXT, min_size=2, max_size=3),
        "seed": st.none() | st.integers(-1, 2**63),
        "num_seeds": st.none() | st.integers(0, 3),
        "variation_kind": st.none() | st.just("pose"),
        "note": st.none() | TEXT,
    }
)


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(GROUP, min_size=1, max_size=3))
def test_the_same_content_gives_the_same_groups_in_every_format(
    tmp_path: Path, groups: list[Mapping[str, Any]]
) -> None:
    rows = [{"group_id": f"00{i}", **group} for i, group in enumerate(groups)]
    types = {"seed": pa.uint64() if any((g["seed"] or 0) > 0 for g in groups) else pa.int64()}
    if any((group["seed"] or 0) < 0 for group in groups):
        types["seed"] = pa.decimal128(20, 0)
    columns = {name: pa.array([r[name] for r in rows], types.get(name)) for name in rows[0]}
    columns |= {name: columns[name].cast(pa.string()) for name in ("variation_kind", "note")}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "set.jsonl").write_text(lines)
    for name, delimiter in (("set.csv", ","), ("set.tsv", "\t")):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows({**row, "prompts": json.dumps(row["prompts"])} for row in rows)
    found = [
        list(read_prompt_set(PromptSetConfig(uri=str(path), on_bad_row="quarantine")))
        for path in sorted(tmp_path.glob("set.*"))
    ]
    assert len(found) == 4
    assert all(describe(each) == describe(found[0]) for each in found)
    assert all(messages(each) == messages(found[0]) for each in found)


@settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["set.csv", "set.tsv", "set.jsonl", "set.csv.gz", "set.parquet"]),
    st.sampled_from([b"", b"group_id,prompt\n", b'{"group_id": "a", "prompts": ["x", "y"]}\n']),
    st.binary() | st.text(st.sampled_from('",\n\r\t{}[]:ax1 \\#')).map(str.encode),
)
def test_any_bytes_are_read_or_refused_by_name(
    tmp_path: Path, name: str, head: bytes, rest: bytes
) -> None:
    try:
        records = read(tmp_path / name, head + rest)
    except CoupledError as error:
        assert str(error)
    else:
        for record in records:
            json.dumps(record.group_id, ensure_ascii=False).encode()


def test_ids_stay_text_and_numbers_may_have_a_point(tmp_path: Path) -> None:
    text = "group_id,prompt,seed,shot\n007,one,5.0,01\n007,two,5,02\n1,one,,\n1,two,,\n"
    first, second = read(tmp_path / "set.csv", text, "fail")
    assert isinstance(first, PromptGroup) and isinstance(second, PromptGroup)
    assert (first.group_id, first.seed, first.extra) == ("007", 5, {"shot": ["01", "02"]})
    assert (second.seed, second.source_row, second.extra) == (None, 2, {"shot": [None, None]})


def test_marks_line_ends_blank_lines_and_quoted_newlines_of_windows_are_read(
    tmp_path: Path,
) -> None:
    text = '\ufeff# note\r\n\r\ngroup_id, prompt\r\na,"a ""big""\r\ncar"\r\n\r\na,a 5" kite\r\n'
    (group,) = read(tmp_path / "SET.CSV", text, "fail")
    assert isinstance(group, PromptGroup)
    assert group.prompts == ('a "big"\r\ncar', 'a 5" kite')


def test_only_lines_at_the_top_are_comments(tmp_path: Path) -> None:
    (group,) = read(tmp_path / "set.csv", f"# one\n#two\n{HEADER}#3,x\n#3,y\n", "fail")
    assert group.group_id == "#3"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,one,two\nb,two", "line 4: got 3 cells ('b,one,two'), expected 2 (group_id, prompt)"),
        ("b\nb,two", "line 4: got 1 cells ('b'), expected 2"),
    ],
)
def test_a_row_with_other_cells_spoils_its_group_only(
    tmp_path: Path, row: str, message: str
) -> None:
    records = read(tmp_path / "set.csv", f"{HEADER}a,one\na,two\n{row}\nc,one\nc,two\n")
    assert [record.group_id for record in records] == ["a", "b", "c"]
    assert list(messages(records)) == [2]
    assert messages(records)[2].startswith(message)


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ('a,"one\na,two\n', "lines 2 to 3: unexpected end of data"),
        ('a,"one\nb,"two"\n', "lines 2 to 3: ',' expected after '\"'"),
        (f"a,{'x' * 140_000}\n", "line 2: field larger than field limit (131072)"),
    ],
)
def test_an_open_quote_swallows_no_rows(tmp_path: Path, rest: str, place: str) -> None:
    assert place in refuse(tmp_path / "set.csv", HEADER + rest)


def test_bytes_that_are_not_utf8_spoil_their_own_group(tmp_path: Path) -> None:
    content = HEADER.encode() + b"a,A \xff kite\na,two\nb,one\nb,two\n\xff\xff,one,x\n"
    found = messages(read(tmp_path / "set.csv", content))
    assert found[0] == r"column prompt: got the bytes b'A \xff kite', expected valid UTF-8"
    assert list(found) == [0, 4]


@pytest.mark.parametrize("seed", ["1e3", "NaN", "1_000", "٣", "0x1", "1.5", "9" * 5000, "True"])
def test_what_is_no_integer_is_named(tmp_path: Path, seed: str) -> None:
    text = f'group_id,prompts,seed\na,"[""x"", ""y""]",{seed}\n'
    assert messages(read(tmp_path / "set.csv", text))[0].startswith("column seed: got '")


@pytest.mark.parametrize("cell", ["['x', 'y']", '["x", 1]', "{}", "null", "x|y", "[[1]]"])
def test_a_list_in_a_cell_is_json_or_the_row_says_what_to_write(tmp_path: Path, cell: str) -> None:
    quoted = cell.replace('"', '""')
    message = messages(read(tmp_path / "set.csv", f'group_id,prompts\na,"{quoted}"\n'))[0]
    assert "expected list<string> as JSON; or write one prompt a row" in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty: expected a line with the names of its columns"),
        ("a.csv", "# only a comment\n", "is empty"),
        ("a.csv", HEADER, "the prompt set holds no rows"),
        ("a.csv", "group_id,prompt,prompt\n", "column 'prompt' stands there more than once"),
        ("a.csv", ",group_id,prompt\n", "column 0 (from 0) has no name"),
        ("a.csv", "group_id;prompt\n", "separated by ';', expected ','"),
        ("a.tsv", HEADER, r"separated by ',', expected '\t'"),
        ("a.csv", '{"group_id": "a"}', "JSON Lines are files called .jsonl"),
        ("a.csv", HEADER.encode("utf-16"), "is text in UTF-16: save it in UTF-8"),
        ("a.csv", b"PAR1....", "holds Parquet: call it .parquet"),
        ("a.csv", gzip.compress(b"x", mtime=0), "is compressed by gzip"),
        ("a.csv", b"PK\x03\x04...", "an Excel workbook: save it as CSV in UTF-8"),
        ("a.csv.gz", HEADER, "is not a readable CSV file"),
        ("a.csv.gz", gzip.compress(b"prompt\na\n" * 9, mtime=0)[:-9], "Truncated compressed"),
        ("a.csv", b"x" * (1 << 24), "line 1: got more than 16,777,216 characters without an end"),
        ("a.jsonl", "", "is empty: expected a JSON object a line"),
        ("a.jsonl", HEADER, "line 1: got 'group_id,prompt': not JSON"),
        ("a.jsonl", '[{"group_id": "a"}]', "expected a JSON object a line, {...}"),
        ("a.jsonl", "".join(f'{{"k{i}": 1}}\n' for i in range(1001)), "more than 1,000 different"),
        ("a.json", "[]", "its ending says no format, expected one of .parquet, .csv"),
    ],
)
def test_a_file_that_is_something_else_is_refused_by_name(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert message in refuse(tmp_path / name, content)


def object_with(**values: Any) -> str:
    return json.dumps({"group_id": "a", "prompts": ["x", "y"], **values})


def test_what_json_holds_is_carried_as_it_is(tmp_path: Path) -> None:
    extra = {"day": "2026-01-01", "big": 10**30, "nested": {"b": [1, None]}, "nothing": None}
    lines = f"# a comment\n{object_with(**extra)}\n\n{object_with(group_id='b', seed=5.0)}"
    first, second = read(tmp_path / "set.jsonl", lines, "fail")
    assert isinstance(first, PromptGroup) and isinstance(second, PromptGroup)
    assert first.extra == extra
    assert second.extra == dict.fromkeys(extra)
    assert (second.seed, second.source_row) == (5, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (object_with()[:-1], 'line 2: got \'{"group_id": "a"'),
        (object_with()[:-1], "not JSON, Expecting ',' delimiter at character 40"),
        (object_with() * 2, "not JSON, Extra data"),
        ("null", "expected a JSON object a line"),
        ("7", "expected a JSON object a line"),
        ('{"group_id": "a", "group_id": "b"}', "it has the key 'group_id' twice"),
        (object_with(n=0).replace("0", "1e400"), "the number 1e400 is too large for a double"),
        (object_with(n=0).replace("0", "9" * 5000), "Exceeds the limit"),
        (object_with(n=json.loads("[" * 60 + "]" * 60)), "at most 50 lists and objects inside"),
        ("[" * 100_000, "at most 50 lists and objects inside"),
        (object_with(n="\ud800"), "half of a surrogate pair"),
        (object_with(group_id=7), "column group_id: got 7, expected string"),
        (object_with(prompts="x"), "column prompts: got 'x', expected list<string>"),
        (object_with(prompts=["x", 1]), "column prompts: got ['x', 1], expected list<string>"),
        (object_with(prompts=["x", None]), "column prompts[1]: got null, expected text"),
        (object_with(seed="1"), "column seed: got '1', expected integer"),
        (object_with(seed=True), "column seed: got True, expected integer"),
        (object_with(seed=2**70), f"column seed: got {2**70}, expected 0 to"),
        (object_with(seed=1e300), "column seed: got 1e+300, expected a whole number"),
        ("{}", "column group_id: got null, expected text"),
    ],
)
def test_a_bad_line_of_json_is_one_bad_row(tmp_path: Path, line: str, message: str) -> None:
    lines = f"{object_with(group_id='first')}\n{line}\n{object_with(group_id='last')}\n"
    records = read(tmp_path / "set.jsonl", lines)
    assert [record.group_id for record in records if isinstance(record, PromptGroup)] == [
        "first",
        "last",
    ]
    assert message in messages(records)[1]


def test_formats_and_forms_mix_in_a_folder_and_folders_give_columns(tmp_path: Path) -> None:
    (tmp_path / "seed=7").mkdir()
    (tmp_path / "a.csv").write_text(f"{HEADER}a,one\n")
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(b"group_id\tprompt\na\ttwo\n", mtime=0))
    (tmp_path / "c.ndjson").write_text(object_with(group_id="c"))
    (tmp_path / "seed=7" / "d.JSONL").write_text(object_with(group_id="d"))
    for uri in (str(tmp_path), f"{tmp_path}/**/*"):
        records = list(read_prompt_set(PromptSetConfig(uri=uri)))
        groups = [group for group in records if isinstance(group, PromptGroup)]
        assert [group.group_id for group in groups] == ["a", "c", "d"]
        assert groups[0].prompts == ("one", "two")
        assert groups[2].seed == 7


def test_rows_are_counted_and_unknown_columns_listed_with_them(tmp_path: Path) -> None:
    lines = [object_with(group_id="a"), object_with(group_id="b", Seed=1), "broken"]
    (tmp_path / "set.jsonl").write_text("\n".join(lines))
    (file,) = describe_files(PromptSetConfig(uri=str(tmp_path)))
    assert file.num_rows == 3
    assert [str(column) for column in file.unknown_columns] == ["Seed (did you mean seed?; 3 rows)"]
