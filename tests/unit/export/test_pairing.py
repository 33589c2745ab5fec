"""The comparison of what was meant and what is there names the first edit that is wrong."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from coupled_core.errors import DatasetError
from coupled_core.export.edits import SeenEdit
from coupled_core.export.pairing import check_pairing

MEANT = [SeenEdit(f"key-{index}", f"s{index}", f"t{index}", "Edit.") for index in range(5)]


def _check(found: list[SeenEdit]) -> int:
    halves = [MEANT[:2], MEANT[2:]]
    units = [{edit.key: edit.digest() for edit in half} for half in halves]
    return check_pairing(lambda: units, lambda: iter(found), "the export")


def test_equal_sets_agree_in_any_order() -> None:
    assert _check(MEANT[::-1]) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda edits: edits[:-1], "edit key-4 is missing"),
        (lambda edits: [*edits, edits[0]], "edit key-0 is there twice"),
        (lambda edits: [edits[1], *edits[1:]], "edit key-1 is there twice"),
        (
            lambda edits: [replace(edits[0], source_sha256="s1"), *edits[1:]],
            "edit key-0 has another source",
        ),
        (
            lambda edits: [replace(edits[0], instruction="Other."), *edits[1:]],
            "edit key-0 has another source, target or instruction",
        ),
    ],
)
def test_a_difference_is_named(
    change: Callable[[list[SeenEdit]], list[SeenEdit]], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        _check(change(MEANT))
