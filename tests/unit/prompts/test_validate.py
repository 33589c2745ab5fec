"""The short way through validation decides as the long one does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coupled_core.prompts.rows import RawGroup
from coupled_core.prompts.validate import validate_group
from coupled_core.records import PromptGroup

_TEXTS = st.text("ab~! \t\x00\x1f\x7f\u200b\u00e9", max_size=12) | st.none()


@settings(max_examples=300, deadline=None)
@given(_TEXTS, st.lists(_TEXTS, max_size=4) | st.none())
def test_a_row_without_options_is_judged_as_one_whose_options_are_null(
    group_id: str | None, prompts: list[str | None] | None
) -> None:
    # A column more, though null, is what leads a row past the short way.
    short, long = (
        validate_group(
            RawGroup("f", 0, 3, {"group_id": group_id, "prompts": prompts, **more}, {}), 9
        )
        for more in ({}, {"seed": None})
    )
    assert short == long


def test_plain_groups_and_blank_ones_are_told_apart() -> None:
    def judge(*prompts: str) -> bool:
        raw = RawGroup("f", 0, 3, {"group_id": "g", "prompts": list(prompts)}, {"note": 1})
        result = validate_group(raw, 100)
        return isinstance(result, PromptGroup) and result.extra == {"note": 1}

    assert judge("a fox", " an owl")
    assert not judge("a fox", "  ")
    assert not judge("a fox", " a  fox")
