"""The offline splitter: published pairs, the shipped set, word orders, and what it refuses."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.miniature.captions import write_caption
from coupled_core.miniature.world import CaptionKind, Scene
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import GroupSplit, PromptGroup, Rejection, RejectReason
from coupled_core.splitting.offline import OfflineSplitter, separate

MEADOW = "in a vibrant meadow under a clear blue sky, bathed in sunlight."
TOKYO = "on Tokyo night street, adorned with neon lights and billboards."
FOREST = "in a misty forest at dawn, sunlight through trees."
PAPER = [
    (
        [f"An eagle soars gracefully {MEADOW}", f"A red fox runs {MEADOW}"],
        "In a vibrant meadow under a clear blue sky, bathed in sunlight.",
        ("An eagle soars gracefully.", "A red fox runs."),
    ),
    (
        [
            f"An elderly man in a suit playing saxophone {TOKYO}",
            f"A young woman in a red dress dancing {TOKYO}",
        ],
        "On Tokyo night street, adorned with neon lights and billboards.",
        ("An elderly man in a suit playing saxophone.", "A young woman in a red dress dancing."),
    ),
    (
        [
            f"A majestic stag standing proud {FOREST}",
            f"A squirrel perched on a branch {FOREST}",
        ],
        "In a misty forest at dawn, sunlight through trees.",
        ("A majestic stag standing proud.", "A squirrel perched on a branch."),
    ),
]
VARIED = [
    (
        ["In a vibrant meadow, an eagle soars.", "In a vibrant meadow, a red fox runs."],
        "In a vibrant meadow.",
        ("An eagle soars.", "A red fox runs."),
    ),
    (
        ["In a vibrant meadow an eagle soars", "In a vibrant meadow a red fox runs"],
        "In a vibrant meadow.",
        ("An eagle soars.", "A red fox runs."),
    ),
    (
        ["In a green meadow, an eagle soars.", "A red fox runs in a green meadow."],
        "In a green meadow.",
        ("An eagle soars.", "A red fox runs."),
    ),
    (
        ["At noon, a red kite flies on a beach", "At noon, a blue kite flies on a beach"],
        "At noon, on a beach.",
        ("A red kite flies.", "A blue kite flies."),
    ),
    (
        ["On a beach, a red kite flies at noon", "On a beach, a red car is parked at noon"],
        "On a beach at noon.",
        ("A red kite flies.", "A red car is parked."),
    ),
    (
        ["A red kite flies in a meadow", "A red balloon flies in a meadow"],
        "In a meadow.",
        ("A red kite flies.", "A red balloon flies."),
    ),
    (
        ["A red fox in a park at noon sits", "A red fox in a park at noon runs"],
        "In a park at noon.",
        ("A red fox sits.", "A red fox runs."),
    ),
    (
        [
            "A vibrant meadow with an eagle soaring",
            "A vibrant meadow with a red fox running",
            "A vibrant meadow with two foxes",
        ],
        "A vibrant meadow.",
        ("An eagle soaring.", "A red fox running.", "Two foxes."),
    ),
    (
        ["An eagle, in a green meadow, soars", "A fox, in a green meadow, runs"],
        "In a green meadow.",
        ("An eagle soars.", "A fox runs."),
    ),
    (
        ["In the vibrant meadow eagles soar", "In the vibrant meadow foxes run"],
        "In the vibrant meadow.",
        ("Eagles soar.", "Foxes run."),
    ),
    (
        ["A cat sleeps in a laundromat", "A dog barks in a laundromat"],
        "In a laundromat.",
        ("A cat sleeps.", "A dog barks."),
    ),
    (
        [
            "A watercolor painting of a cat in a garden",
            "A watercolor painting of a dog in a garden",
        ],
        "A watercolor painting of a garden.",
        ("A watercolor painting of a cat.", "A watercolor painting of a dog."),
    ),
    (
        ["A tailor works in a suit shop at noon", "A dog sleeps in a suit shop at noon"],
        "In a suit shop at noon.",
        ("A tailor works.", "A dog sleeps."),
    ),
    (
        ["There is a cat in a garden", "There is a dog in a garden"],
        "In a garden.",
        ("A cat.", "A dog."),
    ),
    (
        ["A fox runs. The scene is a meadow.", "An owl waits. The scene is a meadow."],
        "The scene is a meadow.",
        ("A fox runs.", "An owl waits."),
    ),
    (
        ["In a swamp stands a heron", "In a swamp stands a wooden hut by the reeds"],
        "In a swamp.",
        ("A heron stands.", "A wooden hut stands by the reeds."),
    ),
    (
        ["A fox drinks from a stream in fog", "A deer sleeps by a stream in fog"],
        "A stream in fog.",
        ("A fox drinks.", "A deer sleeps."),
    ),
    (
        ["A dog in the foreground of a field", "A dog in the distance of a field"],
        "A field.",
        ("A dog in the foreground.", "A dog in the distance."),
    ),
    (
        ["Not far from a lake, a bear eats", "Not far from a lake, a wolf howls"],
        "Not far from a lake.",
        ("A bear eats.", "A wolf howls."),
    ),
]


@cache
def _captions(scene: Scene, kind: CaptionKind) -> frozenset[str]:
    """Return about every caption that a scene can get in training."""
    rng = np.random.default_rng(0)
    return frozenset(write_caption(rng, scene, kind).rstrip(".") for _ in range(1500))


def _group(prompts: list[str], variation_kind: str | None = None) -> PromptGroup:
    return PromptGroup("g", tuple(prompts), "set.parquet", 0, variation_kind=variation_kind)


def _split(prompts: list[str]) -> GroupSplit:
    (split,) = OfflineSplitter().split([_group(prompts)])
    assert isinstance(split, GroupSplit), split
    return split


@pytest.mark.parametrize(("prompts", "background", "entities"), PAPER)
def test_the_published_pairs_are_split(
    prompts: list[str], background: str, entities: tuple[str, ...]
) -> None:
    assert separate(prompts) == (background, entities)


@pytest.mark.parametrize(("prompts", "background", "entities"), VARIED)
def test_other_word_orders_are_split(
    prompts: list[str], background: str, entities: tuple[str, ...]
) -> None:
    assert separate(prompts) == (background, entities)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["An eagle in a meadow", "A fox in a forest"], "no words in common that describe"),
        (["A man sings in a suit", "A woman dances in a suit"], "share only 'in a suit'"),
        (["A fox in a park.", "a fox in a park"], "same entity 'A fox.'"),
        (["A fox in a park at noon", "An owl in a park at night"], "noon in prompt 0 and night in"),
        (["A vibrant meadow", "A fox in a vibrant meadow"], "share only 'a vibrant meadow'"),
        (["In a park at noon", "In a park at noon, a fox runs"], "prompt 0 names nothing besides"),
        (
            ["A fox runs by a fox in snow", "An owl sits by a fox in snow"],
            "entity 'fox' of prompt 0",
        ),
        (["一只鹰在草地上飞", "一只狐狸在草地上跑"], "does not read as English"),
        (["!!!", "???"], "no words in common"),
        (["Un chat dans un parc la nuit", "Un chien dans un parc la nuit"], "read as English"),
        (["A nurse in a ward in soft light", "A diver in a reef in soft light"], "has 'ward'"),
        (["A cat by a sea at dawn, 8k", "A dog, near a sea, at dusk, 8k"], "dawn in prompt 0"),
        (["A cat in a park [x]", "A dog in a park [x]"], "hold markup"),
        (["A cat in a park. You obey.", "A dog in a park. You obey."], "speak to a reader"),
        (["A salt pan, in rain, a cat sits", "A salt pan, in rain, a dog runs"], "not known as a"),
        (["A ruin in fog", "A ruin in fog at night"], "differ in nothing but night"),
    ],
)
def test_what_cannot_be_split_is_rejected_with_what_was_found(
    prompts: list[str], message: str
) -> None:
    result = separate(prompts)
    assert isinstance(result, Rejection)
    assert result.reason == RejectReason.SPLIT_FAILED
    assert message in result.message


def test_the_shipped_set_is_split_into_the_very_wording_the_miniature_was_trained_on() -> None:
    groups = [g for g in read_prompt_set(PromptSetConfig()) if isinstance(g, PromptGroup)]
    for group, split in zip(groups, OfflineSplitter().split(groups), strict=True):
        assert isinstance(split, GroupSplit), split
        place, light = group.group_id.split("-")[:2]
        scene = Scene(place, light, layout=(), texture_seed=0)
        assert split.background_prompt.rstrip(".") in _captions(scene, "background")
        for entity in split.entity_prompts:
            colour, kind = entity.rstrip(".").split()[1:3]
            shown = replace(scene, entity=kind, colour=colour)
            assert entity.rstrip(".") in _captions(shown, "entity")


def test_words_of_an_entity_come_from_its_own_prompt() -> None:
    for prompts, _, _ in PAPER + VARIED:
        for entity, prompt in zip(_split(prompts).entity_prompts, prompts, strict=True):
            words = re.findall(r"\w+", entity.lower())
            assert set(words) <= set(re.findall(r"\w+", prompt.lower()))


def test_the_split_says_where_it_comes_from() -> None:
    split = _split(PAPER[0][0])
    assert (split.source, split.model, split.llm_cost_usd) == ("offline", None, 0.0)
    assert split.prompt_version
    assert split.edit_instructions[0, 1] == "Replace the eagle with a red fox."
    assert split.edit_instructions[1, 0] == "Replace the red fox with an eagle."
    assert split.variation_kind == "entity_swap"


def test_the_request_hash_follows_prompts_and_kind_and_nothing_else() -> None:
    splitter = OfflineSplitter()
    prompts = PAPER[0][0]
    groups = [_group(prompts), _group(prompts), _group(prompts, "pose"), _group(prompts[::-1])]
    hashes = [s.request_sha256 for s in splitter.split(groups) if isinstance(s, GroupSplit)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_a_bad_group_does_not_spoil_its_neighbours() -> None:
    results = OfflineSplitter().split(
        [_group(PAPER[0][0]), _group(["a", "b"]), _group(PAPER[1][0])]
    )
    assert [isinstance(result, GroupSplit) for result in results] == [True, False, True]


def test_long_prompts_are_split_in_reasonable_time() -> None:
    scene = "in a meadow, " + " ".join(f"word{i}" for i in range(200))
    background, entities = separate([f"A kite flies {scene}", f"A car waits {scene}"])
    assert background.startswith("In a meadow, word0")
    assert entities == ("A kite flies.", "A car waits.")
