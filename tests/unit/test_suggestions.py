"""`coupled_core.suggestions`: what a misspelt name was meant to be."""

import pytest

from coupled_core.suggestions import suggest

KNOWN = [
    "generation.seed",
    "generation.num_inference_steps",
    "generation.num_steps_back",
    "filter.sead",
]


@pytest.mark.parametrize(
    ("name", "most", "hint"),
    [
        ("seed", 1, "; did you mean generation.seed?"),
        ("sede", 1, "; did you mean generation.seed?"),
        ("seeed", 2, "; did you mean generation.seed or filter.sead?"),
        ("inference-steps", 1, "; did you mean generation.num_inference_steps?"),
        (
            "num_steps",
            3,
            "; did you mean generation.num_inference_steps or generation.num_steps_back?",
        ),
        ("colour", 3, ""),
    ],
)
def test_names_with_all_words_come_before_names_spelled_alike(
    name: str, most: int, hint: str
) -> None:
    assert suggest(name, KNOWN, most) == hint
