"""Edit instructions: short, grammatical, both ways, and the kind of variation they describe."""

import pytest

from coupled_core.splitting.instructions import write_instructions
from coupled_core.wording.phrases import parse_entity


@pytest.mark.parametrize(
    ("entities", "forth", "back", "kind"),
    [
        (
            ("An eagle soars gracefully.", "A red fox runs."),
            "Replace the eagle with a red fox.",
            "Replace the red fox with an eagle.",
            "entity_swap",
        ),
        (
            ("An elderly man in a suit playing saxophone.", "A young woman dancing."),
            "Replace the elderly man in a suit with a young woman.",
            "Replace the young woman with an elderly man in a suit.",
            "entity_swap",
        ),
        (
            ("Eagles soar.", "Two foxes run."),
            "Replace the eagles with two foxes.",
            "Replace the two foxes with eagles.",
            "entity_swap",
        ),
        (
            ("Albert Einstein rides a bike.", "A red fox runs."),
            "Replace Albert Einstein with a red fox.",
            "Replace the red fox with Albert Einstein.",
            "entity_swap",
        ),
        (
            ("...", "A red fox runs."),
            "Replace the object with a red fox.",
            "Replace the red fox with an object.",
            "entity_swap",
        ),
        (
            ("The old king sits.", "His horse waits."),
            "Replace the old king with his horse.",
            "Replace his horse with the old king.",
            "entity_swap",
        ),
        (
            ("A red kite flies.", "A blue kite hovers."),
            "Make the kite blue instead of red.",
            "Make the kite red instead of blue.",
            "appearance",
        ),
        (
            ("A fox.", "A red fox."),
            "Replace the fox with a red fox.",
            "Replace the red fox with a fox.",
            "appearance",
        ),
        (
            ("A fox with a hat.", "A fox with a scarf."),
            "Show the fox with a scarf instead of with a hat.",
            "Show the fox with a hat instead of with a scarf.",
            "appearance",
        ),
        (
            ("A fox sits.", "A fox flies."),
            "Make the fox fly instead of sit.",
            "Make the fox sit instead of fly.",
            "pose",
        ),
        (
            ("A car is parked.", "A car drives."),
            "Make the car drive instead of be parked.",
            "Make the car be parked instead of drive.",
            "pose",
        ),
        (
            ("A fox standing.", "A fox sleeping."),
            "Change the fox from standing to sleeping.",
            "Change the fox from sleeping to standing.",
            "pose",
        ),
        (
            ("A fox.", "A fox runs."),
            "Make the fox run.",
            "Make the fox no longer run.",
            "pose",
        ),
        (
            ("A fox on the left.", "A fox on the right."),
            "Place the fox on the right instead of on the left.",
            "Place the fox on the left instead of on the right.",
            "position",
        ),
    ],
)
def test_a_pair_is_instructed_both_ways(
    entities: tuple[str, str], forth: str, back: str, kind: str
) -> None:
    instructions, found = write_instructions(entities)
    assert (instructions[0, 1], instructions[1, 0], found) == (forth, back, kind)


def test_every_ordered_pair_of_a_group_has_an_instruction() -> None:
    instructions, kind = write_instructions(["A red kite.", "A blue kite.", "A tent.", "A car."])
    assert set(instructions) == {(i, j) for i in range(4) for j in range(4) if i != j}
    assert kind == "entity_swap"


@pytest.mark.parametrize(
    ("prompt", "article", "head", "name", "predicate"),
    [
        ("A red fox runs.", "a", "fox", "red fox", "runs"),
        ("A bus stops", "a", "bus", "bus", "stops"),
        ("A glass jar sits on end", "a", "jar", "glass jar", "sits on end"),
        ("A squirrel perched on a branch.", "a", "squirrel", "squirrel", "perched on a branch"),
        ("A knight with red wings soars", "a", "knight", "knight with red wings", "soars"),
        ("Eagles soar", "", "eagles", "eagles", "soar"),
        ("A watercolor painting of an owl.", "an", "owl", "owl", ""),
        ("Kite", "", "kite", "kite", ""),
    ],
)
def test_an_entity_prompt_is_taken_apart(
    prompt: str, article: str, head: str, name: str, predicate: str
) -> None:
    phrase = parse_entity(prompt)
    assert (phrase.article, phrase.head, phrase.name, phrase.predicate) == (
        article,
        head,
        name,
        predicate,
    )
