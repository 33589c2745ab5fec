"""`coupled build --attempts`: every attempt is a row, and of each two prompts the best is kept."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.coupled_command import Coupled, build_arguments, read_rows, write_prompts

pytestmark = pytest.mark.timeout(300)
ANY_SCORE_PASSES = ("--min-combined", "-99")
"""The guards against empty and too large masks stay."""


@pytest.fixture(scope="module")
def best_of_two(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> dict[str, Any]:
    """The summary of a build that tries every seed twice; its dataset lies in `folder`."""
    folder = tmp_path_factory.mktemp("best-of-two")
    write_prompts(folder / "prompts.parquet")
    command = Coupled(folder, {"PREFECT_API_URL": prefect_url})
    options = ("--attempts", "2", "--no-early-stop", *ANY_SCORE_PASSES, "--json")
    code, output, errors = command.run(*build_arguments(*options))
    assert code == 0, errors
    return {**json.loads(output), "folder": folder}


def test_of_each_two_prompts_the_best_attempt_that_passes_is_kept(
    best_of_two: dict[str, Any],
) -> None:
    by_edit = defaultdict(list)
    for row in read_rows(best_of_two["folder"] / "pairs"):
        by_edit[row["group_id"], row["image_index_0"], row["image_index_1"]].append(row)
    assert len(by_edit) == 6
    for rivals in by_edit.values():
        assert sorted(row["attempt"] for row in rivals) == [1, 2]
        assert len({row["image_0_sha256"] for row in rivals}) == 2
        passing = [row for row in rivals if not set(row["reject_reasons"]) - {"not_best"}]
        passing.sort(key=lambda row: -row["combined"])
        assert [row["reject_reasons"] for row in passing] == [[], ["not_best"]][: len(passing)]
        assert [row["kept"] for row in passing] == [True, False][: len(passing)]
    assert any("not_best" in row["reject_reasons"] for rivals in by_edit.values() for row in rivals)


def test_first_attempts_are_the_pairs_of_a_build_that_tries_once(
    best_of_two: dict[str, Any], undisturbed: Path
) -> None:
    def made(folder: Path) -> dict[str, tuple[Any, ...]]:
        names = ("seed", "image_0_sha256", "image_1_sha256", "combined")
        rows = [row for row in read_rows(folder / "pairs") if row["attempt"] == 1]
        return {row["pair_id"]: tuple(row[name] for name in names) for row in rows}

    assert made(best_of_two["folder"]) == made(undisturbed)


def test_the_summary_counts_the_attempts(best_of_two: dict[str, Any]) -> None:
    counted = {"at_most": 2, "pairs_tried_again": 6, "pairs_spared": 0}
    assert best_of_two["attempts"] == counted
    funnel = best_of_two["funnel"]
    assert (funnel["pairs_planned"], funnel["pairs_retried"]) == (12, 6)
    rows = read_rows(best_of_two["folder"] / "pairs")
    beaten = [row for row in rows if row["reject_reasons"] == ["not_best"]]
    assert funnel["dropped_by_reason"]["not_best"] == len(beaten)


def test_verify_and_recut_stand_by_the_choice(
    best_of_two: dict[str, Any], prefect_url: str
) -> None:
    command = Coupled(best_of_two["folder"], {"PREFECT_API_URL": prefect_url})
    before = read_rows(best_of_two["folder"] / "pairs")
    for arguments in (("recut", "--min-combined", "-98"), ("verify",)):
        code, _, errors = command.run(*arguments, "--dataset", "pairs", "--json")
        assert code == 0, errors
    rows = read_rows(best_of_two["folder"] / "pairs")
    decided = {row["pair_id"]: row["reject_reasons"] for row in rows}
    assert decided == {row["pair_id"]: row["reject_reasons"] for row in before}


def test_a_plan_announces_the_worst_case(best_of_two: dict[str, Any], prefect_url: str) -> None:
    command = Coupled(best_of_two["folder"], {"PREFECT_API_URL": prefect_url})
    options = ("--seed", "1", "--attempts", "3", "--json")
    code, output, errors = command.run("plan", *build_arguments(*options)[1:])
    assert code == 0, errors
    plan = json.loads(output)
    assert (plan["pairs_to_make"], plan["pairs_to_make_at_most"]) == (6, 18)
    assert plan["gpu_seconds_at_most"] == pytest.approx(3 * plan["gpu_seconds"])
