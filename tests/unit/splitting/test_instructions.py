"""Edit instructions by rule: grammatical, both ways, naming what changes; or none, and why."""

import pytest

from coupled_core.records import EditInstruction
from coupled_core.splitting.instructions import tell_directions_apart, write_instructions


def write(*entities: str) -> tuple[str | None, str | None, str]:
    prompts = [f"{entity.rstrip('.')} in a park" for entity in entities]
    instructions, kind = write_instructions(entities, prompts)
    return instructions[0, 1].text, instructions[1, 0].text, kind


@pytest.mark.parametrize(
    ("entities", "forth", "back", "kind"),
    [
        (
            ("An eagle soars gracefully.", "A red fox runs."),
            "Replace the eagle with a red fox running.",
            "Replace the red fox with an eagle soaring gracefully.",
            "entity_swap",
        ),
        (
            ("An elderly man in a suit playing saxophone.", "A young woman dancing."),
            "Replace the elderly man in a suit with a young woman dancing.",
            "Replace the young woman with an elderly man in a suit playing saxophone.",
            "entity_swap",
        ),
        (
            ("A cat sleeping.", "A dog sleeping."),
            "Replace the cat with a dog.",
            "Replace the dog with a cat.",
            "entity_swap",
        ),
        (
            ("A boy in a red shirt.", "A girl in a red shirt."),
            "Replace the boy with a girl in a red shirt.",
            "Replace the girl with a boy in a red shirt.",
            "entity_swap",
        ),
        (
            ("Eagles soar.", "Two foxes run."),
            "Replace the eagles with two foxes running.",
            "Replace the two foxes with eagles soaring.",
            "entity_swap",
        ),
        (
            ("A bowl of fruit.", "A stack of books."),
            "Replace the bowl of fruit with a stack of books.",
            "Replace the stack of books with a bowl of fruit.",
            "entity_swap",
        ),
        (
            ("A red kite.", "A blue kite."),
            "Make the kite blue instead of red.",
            "Make the kite red instead of blue.",
            "appearance",
        ),
        (
            ("A red kite flies.", "A blue kite hovers."),
            "Replace the red kite with a blue kite hovering.",
            "Replace the blue kite with a red kite flying.",
            "appearance",
        ),
        (
            ("A light green bottle.", "A dark green bottle."),
            "Replace the light green bottle with a dark green bottle.",
            "Replace the dark green bottle with a light green bottle.",
            "appearance",
        ),
        (
            ("A red car.", "A fast car."),
            "Replace the red car with a fast car.",
            "Replace the fast car with a red car.",
            "appearance",
        ),
        (
            ("A fox with a hat.", "A fox with a scarf."),
            "Show the fox with a scarf instead of a hat.",
            "Show the fox with a hat instead of a scarf.",
            "appearance",
        ),
        (
            ("A fox sits.", "A fox flies."),
            "Show the fox flying instead of sitting.",
            "Show the fox sitting instead of flying.",
            "pose",
        ),
        (
            ("A car is parked.", "A car drives."),
            "Show the car driving instead of parked.",
            "Show the car parked instead of driving.",
            "pose",
        ),
        (
            ("A fox on the left.", "A fox on the right."),
            "Move the fox from the left to the right.",
            "Move the fox from the right to the left.",
            "position",
        ),
        (
            ("A ball on a table.", "A ball under a table."),
            "Show the ball under a table instead of on a table.",
            "Show the ball on a table instead of under a table.",
            "position",
        ),
        (
            ("Two coins.", "Five coins."),
            "Show five coins instead of two.",
            "Show two coins instead of five.",
            "entity_swap",
        ),
        (
            ("A goose swims.", "Three geese swim."),
            "Show three geese instead of one.",
            "Show one goose instead of three.",
            "entity_swap",
        ),
    ],
)
def test_a_pair_is_instructed_both_ways(
    entities: tuple[str, str], forth: str, back: str, kind: str
) -> None:
    assert write(*entities) == (forth, back, kind)


def test_what_is_had_is_not_mixed_up_with_what_replaces_it() -> None:
    assert write("A dog with a red collar.", "A cat with a blue collar.")[0] == (
        "Show a cat with a blue collar instead of the dog with a red collar."
    )


def test_an_entity_without_an_article_takes_the_one_of_its_prompt() -> None:
    prompts = ["An old mill by a creek", "Two grey herons by a creek"]
    instructions, _ = write_instructions(["old mill", "grey herons"], prompts)
    assert instructions[0, 1].text == "Replace the old mill with two grey herons."
    assert instructions[1, 0].text == "Replace the two grey herons with an old mill."


def test_what_only_goes_is_not_asked_for() -> None:
    assert write("A fox.", "A fox runs.") == ("Show the fox running.", None, "pose")
    assert write("A fox.", "A red fox.") == ("Replace the fox with a red fox.", None, "appearance")
    assert write("A fox.", "A fox with a hat.") == ("Show the fox with a hat.", None, "appearance")


@pytest.mark.parametrize(
    ("entities", "why"),
    [
        (("...", "A red fox."), "cannot read '...'"),
        (("A tall, thin man.", "A short, old woman."), "plain English only, cannot read"),
        (("一只红色风筝", "一个蓝色气球"), "plain English only, cannot read"),
        (("Ein roter Ballon.", "Ein blauer Ballon."), "plain English only, cannot read"),
        (("One child.", "Children."), "cannot name how many"),
        (
            ("A knight fighting a dragon.", "A dragon fighting a knight."),
            "named with what the other",
        ),
        (
            ("A man in a suit reading.", "A man in a coat sitting."),
            "more changes than what is worn",
        ),
    ],
)
def test_where_the_rules_are_not_certain_there_is_a_reason_instead(
    entities: tuple[str, str], why: str
) -> None:
    instructions, _ = write_instructions(entities, [f"{entity} x" for entity in entities])
    for instruction in instructions.values():
        assert (instruction.text, instruction.source) == (None, None)
        assert why in (instruction.missing or "")


def test_every_ordered_pair_of_a_group_has_an_instruction_by_rule() -> None:
    entities = ["A red kite.", "A blue kite.", "A tent.", "A car."]
    instructions, kind = write_instructions(entities, entities)
    assert set(instructions) == {(i, j) for i in range(4) for j in range(4) if i != j}
    assert {instruction.source for instruction in instructions.values()} == {"rule"}
    assert kind == "entity_swap"


def test_prompts_in_another_language_get_no_english_instruction() -> None:
    instructions, _ = write_instructions(["A red fox.", "An owl."], ["红狐", "鸮"])
    assert instructions[0, 1].text is None
    assert "Latin letters" in (instructions[0, 1].missing or "")


def test_directions_that_ask_for_the_same_are_both_taken_away() -> None:
    same = EditInstruction("Show the cats as they are.", "rule")
    told = tell_directions_apart({(0, 1): same, (1, 0): same})
    assert [told[pair].text for pair in ((0, 1), (1, 0))] == [None, None]
    assert "both directions say" in (told[0, 1].missing or "")
