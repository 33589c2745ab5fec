"""What CLIP could not tell apart is refused before it is split, let alone made."""

import pytest

from coupled_core.config import RunConfig
from coupled_core.records import PromptGroup, Rejection, RejectReason
from coupled_core.runs.refusals import refusal_for

LONG = "In a green meadow at noon under a wide blue sky with soft clouds and tall grass " * 2


@pytest.mark.parametrize(
    ("prompts", "is_refused"),
    [
        ((f"{LONG} a red kite", f"{LONG} a blue car"), True),
        ((f"A red kite {LONG}", f"A blue car {LONG}"), False),
        (("A red kite in a meadow", "A blue car in a meadow"), False),
        (("A red kite in a meadow", "a RED kite in a meadow"), False),
    ],
)
def test_a_difference_that_clip_does_not_read_is_refused(
    prompts: tuple[str, str], is_refused: bool
) -> None:
    found = refusal_for(RunConfig())(PromptGroup("g", prompts))
    assert (found is not None) == is_refused
    if is_refused:
        assert isinstance(found, Rejection)
        assert found.reason is RejectReason.DIFFERENCE_BEYOND_WINDOW
        assert "name what differs earlier" in found.message
