"""What a comparison of variants keeps is taken up by the same comparison alone."""

import json
from pathlib import Path

import pytest

from infra.benchmarks.compare_variants import read_kept

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
