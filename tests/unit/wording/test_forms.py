"""Forms of words: plurals, participles, articles."""

import pytest

from coupled_core.wording.forms import (
    agrees_with_article,
    is_plural_noun,
    participle_of,
    singular_of,
)


@pytest.mark.parametrize(
    ("word", "participle"),
    [
        ("flies", "flying"),
        ("lies", "lying"),
        ("rides", "riding"),
        ("swims", "swimming"),
        ("hovers", "hovering"),
        ("watches", "watching"),
        ("run", "running"),
        ("sitting", "sitting"),
        ("parked", "parked"),
        ("king", None),
        ("buildings", None),
        ("zzz", None),
    ],
)
def test_forms_of_known_verbs_have_one_participle(word: str, participle: str | None) -> None:
    assert participle_of(word) == participle


@pytest.mark.parametrize(
    ("plural", "singular"),
    [("foxes", "fox"), ("ponies", "pony"), ("children", "child"), ("cats", "cat"), ("sheep",) * 2],
)
def test_plurals_are_known(plural: str, singular: str) -> None:
    assert is_plural_noun(plural)
    assert singular_of(plural) == singular


@pytest.mark.parametrize("noun", ["bus", "glass", "cactus", "tennis", "lens"])
def test_a_noun_in_s_may_be_one(noun: str) -> None:
    assert not is_plural_noun(noun)
    assert singular_of(noun) == noun


@pytest.mark.parametrize(
    ("article", "word", "agrees"),
    [
        ("an", "eagle", True),
        ("a", "eagle", False),
        ("an", "hourglass", True),
        ("a", "unicorn", True),
        ("an", "unicorn", False),
        ("the", "eagle", True),
    ],
)
def test_articles_go_by_sound(article: str, word: str, agrees: bool) -> None:
    assert agrees_with_article(article, word) is agrees
