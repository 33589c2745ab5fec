"""What a comparison of variants keeps is taken up by the same comparison alone."""

import json
from pathlib import Path

import pytest

from infra.benchmarks.compare_variants import choose_names, read_kept, render_table

ASKED = ["mode: log_bias", "no single-stream blocks", 961000]


def test_groups_that_were_measured_are_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    assert read_kept(path, ASKED) == {}
    path.write_text("".join(json.dumps([ASKED, f"g{n}", [{"S": n}]]) + "\n" for n in range(2)))
    assert read_kept(path, ASKED) == {"g0": [{"S": 0}], "g1": [{"S": 1}]}


@pytest.mark.parametrize("other", [["mode: region", *ASKED[1:]], [*ASKED[:2], 971000]])
def test_those_of_other_variants_or_prompts_are_refused(tmp_path: Path, other: list[str]) -> None:
    path = tmp_path / "kept"
    path.write_text(json.dumps([other, "g0", [{"S": 0}]]) + "\n")
    with pytest.raises(SystemExit, match="name another file"):
        read_kept(path, ASKED)


def test_patterns_name_variants_in_their_own_order_and_an_empty_one_is_refused() -> None:
    known = ["mode: region", "region size: 0.2", "region margin: 0"]
    assert choose_names(known, ["region margin: *", "region size: *"]) == known[1:]
    with pytest.raises(SystemExit, match="no variant is called 'regions'"):
        choose_names(known, ["regions"])


def test_a_table_has_means_of_the_first_and_paired_differences_of_the_others() -> None:
    measures = ("combined J", "S", "S clear of the masks", "T", "images right", "evaluations")
    found = [
        [dict.fromkeys(measures, value), dict.fromkeys(measures, value - 1)]
        for value in (1.0, 2.0, 6.0)
    ]
    _, _, first, second = render_table(["a", "b"], found).splitlines()
    assert first.startswith("| **a** | 3.000 [1.000, 6.000] |")
    assert second.startswith("| b | **-1.000 [-1.000, -1.000]** |")
