"""What a question in SQL prints and writes."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq

from tests.unit.flows.cli.invoke import run, run_json

SQL = "select kept, count(*) as n, sum(seed) as seeds, max(combined) / 0 as none from manifest group by 1"  # noqa: E501


def test_a_pipe_gets_csv_with_lists_as_json(dataset: str) -> None:
    sql = "select kept, reject_reasons from manifest order by kept desc, status desc limit 5"
    code, output, _ = run("query", dataset, sql)
    rows = list(csv.DictReader(io.StringIO(output)))
    assert code == 0
    assert rows[0] == {"kept": "True", "reject_reasons": "[]"}
    assert rows[4]["reject_reasons"] == '["invalid_input"]' or "below" in rows[4]["reject_reasons"]


def test_json_has_rows_with_whole_sums_and_null_for_infinity(dataset: str) -> None:
    document = run_json("query", SQL, "--dataset", dataset)
    assert document["columns"] == ["kept", "n", "seeds", "none"]
    kept = next(row for row in document["rows"] if row["kept"])
    assert kept == {"kept": True, "n": 4, "seeds": 28, "none": None}


def test_all_rows_go_to_a_file_in_the_format_of_its_name(dataset: str, tmp_path: Path) -> None:
    for name in ("rows.parquet", "rows.csv"):
        code, output, errors = run("query", dataset, "from manifest", "-o", str(tmp_path / name))
        assert (code, output, errors) == (0, f"10 rows in {tmp_path / name}\n", "")
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 10
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 10


def test_a_query_that_fails_leaves_the_file_as_it_was(dataset: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("before\n")
    code, _, errors = run("query", dataset, "select status::int from manifest", "-o", str(path))
    assert code == 2 and "Could not convert string" in errors
    assert path.read_text() == "before\n"
    assert not list(tmp_path.glob(".*"))


def test_a_file_of_another_kind_is_refused(dataset: str) -> None:
    code, _, errors = run("query", dataset, "select 1", "-o", "rows.xlsx")
    assert code == 2 and ".parquet or .csv" in errors
