"""Words as people see them, and which of them are forms of one."""

import pytest

from coupled_core.wording.comparison import are_forms, content_words, is_among, main_script


def test_words_that_only_hold_a_sentence_together_do_not_count() -> None:
    assert content_words("There is a red Fox in the meadow") == ("red", "fox", "meadow")


def test_each_sign_of_a_script_without_spaces_is_a_word() -> None:
    assert content_words("红狐 fox") == ("红", "狐", "fox")


def test_how_a_letter_is_encoded_makes_no_difference() -> None:
    assert content_words("cafe\u0301") == content_words("caf\u00e9")
    assert content_words("f\u200box") == content_words("fox")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("cat", "cats", True),
        ("runs", "running", True),
        ("old", "older", True),
        ("smile", "smiling", True),
        ("kite", "kitten", False),
        ("car", "carpet", False),
        ("man", "mango", True),  # two letters more, as in "old", "older"
        ("red", "blue", False),
    ],
)
def test_forms_of_a_word(one: str, other: str, expected: bool) -> None:
    assert are_forms(one, other) is expected
    assert are_forms(other, one) is expected


def test_a_looser_comparison_goes_by_the_stem() -> None:
    assert is_among("leaping", ["leap"])
    assert not is_among("owl", ["fox"])


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("a kite", "LATIN"),
        ("红色风筝 x", "CJK"),
        ("Красный змей", "CYRILLIC"),
        ("猫がいる", "CJK"),
        ("1", ""),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert main_script(text) == script
