"""A funnel counts every pair once, wherever it ended."""

from dataclasses import replace

import pytest

from coupled_core.dataset.funnel import Funnel, count_rows
from coupled_core.errors import DatasetError
from tests.sample_shards import make_rows


def test_rows_are_counted_by_what_became_of_them() -> None:
    funnel = count_rows(make_rows("run", 0, num_kept=3, num_dropped=2).rows).check()
    assert funnel == Funnel(
        groups_in=7,
        groups_quarantined=1,
        groups_failed=1,
        pairs_planned=6,
        pairs_failed=1,
        pairs_generated=5,
        pairs_scored=5,
        pairs_kept=3,
        pairs_dropped=2,
        dropped_by_reason={"below_min_combined": 2, "mask_too_large": 2},
        failed_by_reason={"split_failed": 1},
    )


def test_funnels_of_shards_add_up_to_that_of_the_run() -> None:
    first, second = make_rows("run", 0).rows, make_rows("run", 1, num_dropped=0).rows
    assert count_rows(first) + count_rows(second) == count_rows(first + second)


def test_a_group_counts_as_failed_only_when_all_its_pairs_did() -> None:
    rows = make_rows("run", 0, num_kept=1, num_dropped=0).rows
    rows[1]["group_id"] = rows[0]["group_id"]
    funnel = count_rows(rows)
    assert (funnel.groups_in, funnel.groups_failed, funnel.pairs_failed) == (2, 0, 1)


@pytest.mark.parametrize("field", ["pairs_planned", "pairs_kept", "pairs_dropped", "pairs_failed"])
def test_a_lost_pair_shows(field: str) -> None:
    funnel = count_rows(make_rows("run", 0).rows)
    with pytest.raises(DatasetError, match="does not add up"):
        replace(funnel, **{field: getattr(funnel, field) + 1}).check()


def test_a_funnel_survives_json_and_renders_its_reasons() -> None:
    funnel = count_rows(make_rows("run", 0).rows)
    assert Funnel.from_dict(funnel.to_dict() | {"added_later": 1}) == funnel
    text = funnel.render()
    assert "    below_min_combined" in text
    assert text.splitlines()[0].split() == ["groups", "in", "5"]
