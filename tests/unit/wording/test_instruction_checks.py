"""What passes for an instruction that turns one entity into the other, whoever wrote it."""

import re

import pytest

from coupled_core.wording.instruction_checks import are_same_instruction, find_instruction_problem

LAMPS = ("A brass lamp.", "A paper lantern.")
COINS = ("Two coins.", "Five coins.")
MOODS = ("A woman frowning.", "A woman smiling.")
SCARF = ("A cat with a scarf.", "A cat.")


def problem_of(text: str, entities: tuple[str, str] = LAMPS, *, said: str = "") -> str:
    prompts = [said] if said else [f"{entity[:-1]} on a shelf in the attic." for entity in entities]
    return find_instruction_problem(text, *entities, prompts) or ""


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("Replace the brass lamp with a paper lantern.", LAMPS),
        ("Swap the lamp for a paper lantern", LAMPS),
        ("Turn the brass lamp into a paper lantern.", LAMPS),
        ("Show a paper lantern instead of the brass lamp.", LAMPS),
        ("Make it a lantern of paper.", LAMPS),
        ("Show five coins instead of two.", COINS),
        ("Add three more coins.", COINS),
        ("Make her smile.", MOODS),
        ("Remove the scarf.", SCARF),
        ("Show the cat without the scarf.", SCARF),
        ("Make the kite blue instead of red.", ("A red kite.", "A blue kite.")),
        (
            "Move the owl from the left to the right.",
            ("An owl on the left.", "An owl on the right."),
        ),
        ("Replace the orange with a lemon.", ("An orange.", "A lemon.")),
    ],
)
def test_a_good_instruction_passes(text: str, entities: tuple[str, str]) -> None:
    assert problem_of(text, entities) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("...", "is empty"),
        ('Replace the brass lamp with a "paper lantern.', "not closed"),
        ("Replace the brass lamp (old with a paper lantern.", "not closed"),
        ("Replace the brass lamp with a ‘paper lantern.", "not closed"),
        ("Replace the brass lamp with with a paper lantern.", "says 'with' twice"),
        ("Replace the brass lamp with a the paper lantern.", "two articles"),
        ("Replace the brass lamp with a two paper lanterns.", "two articles"),
        ("Replace the brass lamp with a paper lantern, a paper lantern a paper lantern.", "twice"),
        ("Replace the brass lamp with a paper lantern &amp;", "has the markup"),
        ("Replace the brass lamp with a <b>paper lantern</b>.", "has the markup"),
        ("Replace the brass lamp with a", "breaks off after 'a'"),
        ("Show a paper lantern hanging instead of the brass lamp hanging.", "'hanging' on both"),
        ("Show a paper lantern instead of is a brass lamp.", "no English"),
        ("Show a paper lantern instead of.", "nothing after|breaks off"),
        ("Change the paper lantern from hanging to hanging.", "both sides of 'from"),
        ("Replace the paper lantern with a paper lantern.", "in the place of the same"),
        ("Show the paper lantern instead of the paper lantern.", "both sides of 'instead of'"),
        ("Replace the paper lantern with a brass lamp.", "which is to go"),
        ("Show the brass lamp instead of a paper lantern.", "which is to come"),
        ("Turn the paper lantern into a brass lamp.", "which is to go"),
        ("Show the lamp as it is.", "does not say what changes"),
        ("Replace the lamp with something of paper.", "does not name 'lantern'"),
        ("Keep the brass lamp, add a paper lantern.", "keeps 'brass', 'lamp'"),
        ("Ersetze den paper lantern durch einen lantern.", "not in English"),
        ("Ersetze die Lampe, das ist der paper lantern, durch das Licht", "not in English"),
        ("把黄铜灯换成纸灯笼", "is in Cjk letters"),
    ],
)
def test_a_bad_instruction_is_told_what_is_wrong(text: str, problem: str) -> None:
    assert re.search(problem, problem_of(text)), problem_of(text)


@pytest.mark.parametrize(
    ("text", "entities", "problem"),
    [
        ("Replace the tall with a short woman.", ("A tall man.", "A short woman."), "no thing"),
        ("Replace the cat with a dogs.", ("A cat.", "Two dogs."), "agree in number"),
        ("Replace the cat with two dog.", ("A cat.", "Two dogs."), "agree in number"),
        ("Replace the two dog with a cat.", ("Two dogs.", "A cat."), "agree in number"),
        (
            "Replace red kite flies with blue balloon floats.",
            ("A red kite flies.", "A blue balloon floats."),
            "in the place of a thing",
        ),
        ("Show the coins as they are.", COINS, "'five'"),
        ("Show the cat.", SCARF, "'scarf' is to go"),
        ("Replace the woman.", MOODS, "'smiling'"),
    ],
)
def test_slots_hold_things_and_counts_are_named(
    text: str, entities: tuple[str, str], problem: str
) -> None:
    assert problem in problem_of(text, entities)


def test_english_does_not_go_with_prompts_in_another_language() -> None:
    german = "Ein roter Drachen und ein blauer Ballon über dem Strand"
    text = "Replace the roter Drachen with a blauer Ballon."
    entities = ("Ein roter Drachen.", "Ein blauer Ballon.")
    assert "is in English" in problem_of(text, entities, said=german)
    assert "is in Latin letters" in problem_of(text, entities, said="红色风筝在海滩上")


def test_an_instruction_in_the_language_of_its_prompts_passes() -> None:
    prompts = "一只红狐在雪林中 一只灰鸮在雪林中"
    assert problem_of("把红狐换成灰鸮", ("一只红狐", "一只灰鸮"), said=prompts) == ""


def test_a_word_that_a_prompt_says_twice_may_be_said_twice() -> None:
    entities = ("A cat.", "A very very old dog.")
    text = "Replace the cat with a very very old dog."
    assert problem_of(text, entities) == ""


def test_directions_are_compared_by_their_words() -> None:
    assert are_same_instruction("Show the cat.", "show the cat")
    assert not are_same_instruction("Show the cat.", "Show the dog.")
