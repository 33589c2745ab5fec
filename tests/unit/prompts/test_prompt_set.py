"""Reading prompt sets from real Parquet files: both forms, bad rows, clear refusals."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.errors import CoupledError, PromptSetError
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.records import PromptGroup, QuarantinedRow

GOOD = {"group_id": "g", "prompts": ["A kite in a meadow", "A car in a meadow"]}
TYPES = {
    "group_id": pa.string(),
    "prompts": pa.list_(pa.string()),
    "prompt": pa.string(),
    "seed": pa.int64(),
    "num_seeds": pa.int32(),
    "width": pa.int32(),
    "height": pa.int32(),
    "variation_kind": pa.string(),
    "background_prompt": pa.string(),
    "entity_prompts": pa.list_(pa.string()),
    "entity_prompt": pa.string(),
}


def write(path: Path, rows: list[dict[str, Any]], **types: pa.DataType) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields = [(name, (TYPES | types).get(name)) for name in names]
    columns = [pa.array([row.get(name) for row in rows], type=kind) for name, kind in fields]
    pq.write_table(pa.table(columns, names=names), path)
    return str(path)


def read(uri: str, **settings: Any) -> list[PromptGroup | QuarantinedRow]:
    return list(read_prompt_set(PromptSetConfig(uri=uri, **settings)))


def quarantine_one(path: Path, row: dict[str, Any]) -> QuarantinedRow:
    """Read one bad row between two good ones and return what became of it."""
    uri = write(path, [GOOD | {"group_id": "a"}, row, GOOD | {"group_id": "z"}])
    before, bad, after = read(uri, on_bad_row="quarantine", max_prompt_chars=100)
    assert isinstance(before, PromptGroup)
    assert isinstance(after, PromptGroup)
    assert isinstance(bad, QuarantinedRow)
    assert (bad.source_file, bad.source_row) == (uri, 1)
    return bad


def test_wide_rows_become_groups_with_all_their_settings(tmp_path: Path) -> None:
    row = GOOD | {
        "seed": 5,
        "num_seeds": 3,
        "width": 64,
        "height": 32,
        "variation_kind": "pose",
        "background_prompt": "In a meadow",
        "entity_prompts": ["A kite", "A car"],
        "shot": {"lens_mm": 35},
    }
    uri = write(tmp_path / "set.parquet", [row])
    assert read(uri) == [
        PromptGroup(
            group_id="g",
            prompts=("A kite in a meadow", "A car in a meadow"),
            source_file=uri,
            source_row=0,
            seed=5,
            num_seeds=3,
            width=64,
            height=32,
            variation_kind="pose",
            background_prompt="In a meadow",
            entity_prompts=("A kite", "A car"),
            extra={"shot": {"lens_mm": 35}},
        )
    ]


def test_optional_columns_may_be_absent_or_null(tmp_path: Path) -> None:
    uri = write(tmp_path / "set.parquet", [GOOD | {"seed": None}], seed=pa.null())
    (group,) = read(uri)
    assert isinstance(group, PromptGroup)
    assert (group.seed, group.num_seeds, group.width, group.extra) == (None, 1, None, {})


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (pa.large_string(), pa.large_list(pa.large_string())),
        (pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string())),
        (pa.string(), pa.list_(pa.string(), 2)),
    ],
)
def test_the_text_types_of_other_writers_are_read(
    tmp_path: Path, text: pa.DataType, texts: pa.DataType
) -> None:
    uri = write(tmp_path / "set.parquet", [GOOD], group_id=text, prompts=texts)
    (group,) = read(uri)
    assert isinstance(group, PromptGroup)
    assert group.prompts == tuple(GOOD["prompts"])


def test_long_form_rows_are_joined_in_order(tmp_path: Path) -> None:
    rows = [
        {"group_id": "a", "prompt": "one", "seed": 1, "note": "x"},
        {"group_id": "a", "prompt": "two", "seed": 1, "note": "y"},
        {"group_id": "a", "prompt": "three", "seed": 1, "note": None},
        {"group_id": "b", "prompt": "four", "seed": None, "note": "z"},
        {"group_id": "b", "prompt": "five", "seed": None, "note": "z"},
    ]
    first, second = read(write(tmp_path / "set.parquet", rows))
    assert isinstance(first, PromptGroup)
    assert isinstance(second, PromptGroup)
    assert first.prompts == ("one", "two", "three")
    assert (first.seed, first.extra) == (1, {"note": ["x", "y", None]})
    assert (second.source_row, second.seed) == (3, None)


def test_long_form_carries_given_splits(tmp_path: Path) -> None:
    rows = [
        {"group_id": "a", "prompt": p, "background_prompt": "here", "entity_prompt": e}
        for p, e in (("one here", "one"), ("two here", "two"))
    ]
    (group,) = read(write(tmp_path / "set.parquet", rows))
    assert isinstance(group, PromptGroup)
    assert (group.background_prompt, group.entity_prompts) == ("here", ("one", "two"))


def test_a_long_form_group_may_run_on_into_the_next_file(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", [{"group_id": "a", "prompt": "one"}])
    write(tmp_path / "1.parquet", [{"group_id": "a", "prompt": "two"}])
    (group,) = read(str(tmp_path))
    assert isinstance(group, PromptGroup)
    assert group.prompts == ("one", "two")


def test_long_form_rows_apart_are_refused_with_advice(tmp_path: Path) -> None:
    rows = [{"group_id": g, "prompt": f"{g}{i}"} for i, g in enumerate("aabbaa")]
    uri = write(tmp_path / "set.parquet", rows)
    with pytest.raises(PromptSetError, match=r"row 4: .*'a'.*row 0 already.*side by side"):
        read(uri)


def test_long_form_settings_must_agree_within_a_group(tmp_path: Path) -> None:
    rows = [{"group_id": "a", "prompt": f"p{seed}", "seed": seed} for seed in (1, 2)]
    with pytest.raises(PromptSetError, match=r"column seed: got \[1, 2\], expected one value"):
        read(write(tmp_path / "set.parquet", rows))


def test_long_form_rows_without_an_id_stay_apart(tmp_path: Path) -> None:
    rows = [{"group_id": None, "prompt": f"p{i}"} for i in range(3)]
    bad = read(write(tmp_path / "set.parquet", rows), on_bad_row="quarantine")
    assert [b.source_row for b in bad] == [0, 1, 2]


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / f"{name}.parquet", [GOOD | {"group_id": name}])
    write(tmp_path / "_hidden.parquet", [GOOD])
    (tmp_path / "notes.txt").write_text("not data")
    groups = read(str(tmp_path))
    assert [g.group_id for g in groups] == ["a", "b"]
    assert groups[1].source_file == f"{tmp_path}/b.parquet"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_id": None}, "column group_id: got null, expected text"),
        ({"group_id": " "}, "column group_id: got ' ', expected text that is not blank"),
        ({"prompts": None}, "column prompts: got None, expected at least 2 prompts"),
        ({"prompts": ["one"]}, "column prompts: got ['one'], expected at least 2 prompts"),
        ({"prompts": ["one", ""]}, "column prompts[1]: got '', expected text that is not blank"),
        ({"prompts": ["one", " \n"]}, "column prompts[1]: got ' \\n', expected text that is not"),
        ({"prompts": [None, "two"]}, "column prompts[0]: got null, expected text"),
        ({"prompts": ["one", "x" * 101]}, "column prompts[1]: got 101 characters ('xxx"),
        ({"prompts": ["one", "one"]}, "column prompts[1]: got 'one', the same as prompts[0]"),
        (
            {"prompts": ["a b", "c", "a  b"]},
            "column prompts[2]: got 'a  b', the same as prompts[0]",
        ),
        ({"prompts": ["one", "o\u200bne"]}, "the same as prompts[0]; expected prompts that differ"),
        ({"prompts": ["one", "t\x07wo"]}, "column prompts[1]: got 't\\x07wo' with the control"),
        ({"num_seeds": 0}, "column num_seeds: got 0, expected 1 or more"),
        ({"num_seeds": 10_001}, "column num_seeds: got 10001, expected at most 10000"),
        ({"num_seeds": 2**31 - 1}, "column num_seeds: got 2147483647, expected at most 10000"),
        (
            {"prompts": [f"fox {i}" for i in range(101)]},
            "column prompts: got 101 prompts, expected at most 100",
        ),
        (
            {"prompts": [f"fox {i}" for i in range(100)], "num_seeds": 21},
            "column num_seeds: got 21, which makes 103950 pairs of the group's prompts, expected",
        ),
        ({"seed": 2**63 - 2, "num_seeds": 3}, "expected the last within 9223372036854775807"),
        ({"width": 4112}, "column width: got 4112, expected at most 4096"),
        ({"height": 2**30}, "column height: got 1073741824, expected at most 4096"),
        ({"prompts": ["\u200b\u2060", "two"]}, "expected text that is not blank"),
        ({"prompts": ["\ufeff \u3164", "two"]}, "expected text that is not blank"),
        ({"prompts": ["one", "\u0301\ufe0f\u2800"]}, "expected text that is not blank"),
        ({"group_id": "\u200d"}, "column group_id: got '\\u200d', expected text that is not blank"),
        ({"seed": -1}, "column seed: got -1, expected 0 to"),
        ({"width": 100}, "column width: got 100, expected a positive multiple of 16"),
        ({"height": -16}, "column height: got -16, expected a positive multiple of 16"),
        ({"variation_kind": "swap"}, "column variation_kind: got 'swap', expected null or one of"),
        ({"background_prompt": "here"}, "column entity_prompts: got null, expected background"),
        ({"entity_prompts": ["a", "b"]}, "column background_prompt: got null, expected background"),
        (
            {"background_prompt": "here", "entity_prompts": ["a"]},
            "column entity_prompts: got 1 texts, expected 2",
        ),
        (
            {"background_prompt": "here", "entity_prompts": ["a", ""]},
            "column entity_prompts[1]: got '', expected text that is not blank",
        ),
    ],
)
def test_a_bad_row_is_named_by_column_value_and_expectation(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    assert message in quarantine_one(tmp_path / "set.parquet", GOOD | change).message


def test_the_largest_that_a_machine_can_take_is_accepted(tmp_path: Path) -> None:
    row = GOOD | {"num_seeds": 10_000, "width": 4096, "seed": 2**63 - 10_000}
    (group,) = read(write(tmp_path / "set.parquet", [row]))
    assert isinstance(group, PromptGroup)
    assert (group.num_seeds, group.width) == (10_000, 4096)


def test_a_set_of_too_many_pairs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coupled_core.prompts.prompt_set.MAX_PAIRS", 7)
    rows = [GOOD | {"group_id": f"g{i}", "num_seeds": 4} for i in range(2)]
    uri = write(tmp_path / "set.parquet", rows)
    with pytest.raises(PromptSetError, match=r"asks for more than 7 pairs .*row 1"):
        read(uri)


@pytest.mark.parametrize("name", ["b.PARQUET", "b.Parquet"])
def test_the_ending_of_a_name_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.parquet", [GOOD | {"group_id": "a"}])
    write(tmp_path / name, [GOOD | {"group_id": "b"}])
    assert [group.group_id for group in read(str(tmp_path))] == ["a", "b"]


def test_a_path_that_no_file_can_have_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "loop.parquet").symlink_to("loop.parquet")
    for path in (f"{tmp_path}/loop.parquet", f"{tmp_path}/{'x' * 300}", f"{tmp_path}/a\0b"):
        with pytest.raises(CoupledError):
            read(path)


def test_row_numbers_run_on_over_record_batches(tmp_path: Path) -> None:
    rows = [GOOD | {"group_id": f"g{i}"} for i in range(2500)]
    rows[2400] |= {"prompts": []}
    records = read(write(tmp_path / "set.parquet", rows), on_bad_row="quarantine")
    assert [record.source_row for record in records] == list(range(2500))
    assert isinstance(records[2400], QuarantinedRow)


def test_all_problems_of_a_row_are_told_at_once(tmp_path: Path) -> None:
    bad = quarantine_one(tmp_path / "set.parquet", GOOD | {"num_seeds": 0, "width": 1})
    assert "num_seeds" in bad.message
    assert "width" in bad.message


def test_a_duplicate_id_names_its_first_place(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", [GOOD | {"group_id": "a"}])
    write(tmp_path / "1.parquet", [GOOD | {"group_id": "b"}, GOOD | {"group_id": "twice"}])
    write(tmp_path / "2.parquet", [GOOD | {"group_id": "twice"}])
    *_, bad = read(str(tmp_path), on_bad_row="quarantine")
    assert isinstance(bad, QuarantinedRow)
    assert "1.parquet, row 1 already" in bad.message


def _with_bytes(path: Path, value: bytes) -> str:
    """Write a set whose second row holds bytes that claim to be a string."""
    raw = pa.array([b"A kite", b"A car", value, b"A car", b"A kite", b"A car"], type=pa.binary())
    prompts = pa.ListArray.from_arrays(
        pa.array([0, 2, 4, 6], type=pa.int32()), raw.view(pa.string())
    )
    pq.write_table(pa.table({"group_id": ["a", "b", "c"], "prompts": prompts}), path)
    return str(path)


def test_invalid_utf8_spoils_its_own_row_only(tmp_path: Path) -> None:
    uri = _with_bytes(tmp_path / "set.parquet", b"A \xff kite")
    first, bad, last = read(uri, on_bad_row="quarantine")
    assert isinstance(first, PromptGroup)
    assert isinstance(last, PromptGroup)
    assert isinstance(bad, QuarantinedRow)
    assert (bad.source_row, bad.group_id) == (1, "b")
    assert bad.message == r"column prompts: got the bytes b'A \xff kite', expected valid UTF-8"


def test_bad_rows_fail_by_default_with_the_first_20_and_the_total(tmp_path: Path) -> None:
    rows = [GOOD | {"group_id": f"g{i}", "prompts": ["only one"]} for i in range(25)]
    uri = write(tmp_path / "set.parquet", rows)
    with pytest.raises(PromptSetError) as caught:
        check_prompt_set(PromptSetConfig(uri=uri))
    text = str(caught.value)
    assert "25 bad rows" in text
    assert "row 19: column prompts" in text
    assert "row 20" not in text
    assert "... and 5 more" in text


def test_a_long_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    bad = quarantine_one(tmp_path / "set.parquet", GOOD | {"prompts": ["one", "x" * 5000]})
    assert len(bad.message) < 200


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"group_id": 7, "prompts": ["a", "b"]}], "'group_id' has type int64, expected string"),
        ([{"group_id": "g", "prompts": "a"}], "'prompts' has type string, expected list<string>"),
        ([GOOD | {"seed": "1"}], "'seed' has type string, expected integer"),
        ([{"prompts": ["a", "b"]}], "column 'group_id' is missing, found prompts"),
        ([{"group_id": "g", "text": "a"}], "column 'prompts' is missing, found group_id, text"),
    ],
)
def test_wrong_columns_are_refused_at_once(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(PromptSetError, match=r"set.parquet") as caught:
        read(str(path), on_bad_row="quarantine")
    assert message in str(caught.value)


def test_whole_numbers_may_come_as_doubles_with_gaps(tmp_path: Path) -> None:
    uri = str(tmp_path / "set.parquet")
    seeds, widths = [5.0, float("nan"), None], [64, None, 32]
    table = {
        "group_id": ["a", "b", "c"],
        "prompts": [GOOD["prompts"]] * 3,
        "seed": pa.array(seeds, pa.float64(), from_pandas=False),
        "width": pa.array(widths, pa.decimal128(10, 0)),
    }
    pq.write_table(pa.table(table), uri)
    groups = [group for group in read(uri) if isinstance(group, PromptGroup)]
    assert [group.seed for group in groups] == [5, None, None]
    assert [group.width for group in groups] == [64, None, 32]
    assert all(isinstance(group.seed, int | None) for group in groups)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5.5, "column seed: got 5.5, expected a whole number"),
        (float("inf"), "column seed: got inf, expected a whole number"),
        (2.0**60, "column seed: got 1152921504606846976 as a double, which cannot hold it exactly"),
        (1e300, "column seed: got 1e+300, expected a whole number"),
    ],
)
def test_a_double_that_is_no_certain_integer_is_a_bad_row(
    tmp_path: Path, value: float, message: str
) -> None:
    uri = write(tmp_path / "set.parquet", [GOOD | {"seed": value}], seed=pa.float64())
    (bad,) = read(uri, on_bad_row="quarantine")
    assert isinstance(bad, QuarantinedRow)
    assert message in bad.message


def test_what_is_carried_is_always_json(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    row = GOOD | {"score": nan, "nested": {"values": [1.0, nan, -inf]}}
    (group,) = read(write(tmp_path / "set.parquet", [row]))
    assert isinstance(group, PromptGroup)
    assert group.extra == {"score": None, "nested": {"values": [1.0, None, "-inf"]}}
    json.dumps(group.extra, allow_nan=False)


def test_a_wrong_last_file_is_refused_before_the_first_row(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", [GOOD])
    write(tmp_path / "1.parquet", [{"group_id": "a", "text": "one"}])
    with pytest.raises(PromptSetError, match=r"1.parquet: column 'prompts' is missing"):
        next(read_prompt_set(PromptSetConfig(uri=str(tmp_path))))


def test_files_of_both_forms_make_one_set(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", [{"group_id": "a", "prompt": p} for p in ("one", "two")])
    write(tmp_path / "1.parquet", [GOOD])
    write(tmp_path / "2.parquet", [{"group_id": "b", "prompt": p} for p in ("one", "two")])
    groups = [group for group in read(str(tmp_path)) if isinstance(group, PromptGroup)]
    assert [group.group_id for group in groups] == ["a", "g", "b"]
    assert groups[2].prompts == ("one", "two")


def test_a_missing_file_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(
        PromptSetError, match=r"nowhere.parquet' does not exist: expected a file \(.parquet, .csv"
    ):
        read(str(tmp_path / "nowhere.parquet"))


def test_a_folder_without_files_that_are_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("group_id,prompts")
    with pytest.raises(PromptSetError, match=r"without any file that ends in .parquet, .csv"):
        read(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"group_id,prompts\n", b"PAR1 but not really PAR1"])
def test_another_format_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.parquet"
    path.write_bytes(content)
    with pytest.raises(
        PromptSetError, match=r"set.parquet is not a readable Parquet file"
    ) as caught:
        read(str(path))
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write(path, [GOOD | {"group_id": f"g{i}"} for i in range(100)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PromptSetError, match=r"not a readable Parquet file"):
        read(str(path))


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    schema = pa.schema([("group_id", pa.string()), ("prompts", pa.list_(pa.string()))])
    pq.write_table(schema.empty_table(), path)
    with pytest.raises(PromptSetError, match=r"holds no rows: .*set.parquet"):
        check_prompt_set(PromptSetConfig(uri=str(path)))


def test_the_summary_counts_groups_prompts_and_files(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", [GOOD | {"group_id": "a"}, GOOD | {"prompts": []}])
    write(tmp_path / "1.parquet", [GOOD | {"group_id": "c", "prompts": ["one", "two", "three"]}])
    summary = check_prompt_set(PromptSetConfig(uri=str(tmp_path), on_bad_row="quarantine"))
    assert (summary.num_groups, summary.num_prompts, summary.num_quarantined) == (2, 5, 1)
    assert [f.num_rows for f in summary.files] == [2, 1]
    assert all(len(f.etag) == 64 for f in summary.files)


def test_the_summary_notices_changed_content(tmp_path: Path) -> None:
    config = PromptSetConfig(uri=write(tmp_path / "set.parquet", [GOOD]))
    before = check_prompt_set(config).files[0].etag
    assert check_prompt_set(config).files[0].etag == before
    write(tmp_path / "set.parquet", [GOOD | {"group_id": "other"}])
    assert check_prompt_set(config).files[0].etag != before


def test_records_come_before_the_set_is_read_to_its_end(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", [GOOD | {"group_id": f"g{i}"} for i in range(2000)])
    write(tmp_path / "1.parquet", [GOOD | {"group_id": "last"}])
    records = read_prompt_set(PromptSetConfig(uri=str(tmp_path)))
    next(records)
    (tmp_path / "1.parquet").unlink()
    assert isinstance(next(records), PromptGroup)
