"""The offline splitter: published pairs, the shipped set, word orders, and what it refuses."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import EditInstruction, GroupSplit, PromptGroup, Rejection, RejectReason
from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.drawn_world.scenes import CaptionKind, Scene
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
        [
            "A vibrant meadow with an eagle soaring",
            "A vibrant meadow with a red fox running",
            "A vibrant meadow with two foxes",
        ],
        "A vibrant meadow.",
        ("An eagle soaring.", "A red fox running.", "Two foxes."),
    ),
    (
        ["A cat sleeps in a laundromat", "A dog barks in a laundromat"],
        "In a laundromat.",
        ("A cat sleeps.", "A dog barks."),
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
        [
            "At night, a tram passes through an empty square",
            "At night, a fox runs through an empty square",
        ],
        "An empty square at night.",
        ("A tram passes.", "A fox runs."),
    ),
    (
        ["A kite flies over a beach at noon", "A gull soars over a beach at noon"],
        "A beach at noon.",
        ("A kite flies.", "A gull soars."),
    ),
    (
        ["A photo of a dog in a park", "photo of a cat in a park"],
        "In a park.",
        ("A dog.", "A cat."),
    ),
    (
        ["A ball on a table in a kitchen", "A ball under a table in a kitchen"],
        "In a kitchen.",
        ("A ball on a table.", "A ball under a table."),
    ),
    (
        [
            "A deer on a lake with mountains in the background, 4k",
            "A duck on a lake with mountains in the background, 4k",
        ],
        "On a lake with mountains in the background, 4k.",
        ("A deer.", "A duck."),
    ),
    (
        ["Two cats on a sofa in a living room", "Three cats on a sofa in a living room"],
        "On a sofa in a living room.",
        ("Two cats.", "Three cats."),
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


REFUSED = [
    # the scene has other words, or none
    (["An eagle in a meadow", "A fox in a forest"], "no place in the same words"),
    (["A fox in a park at noon", "An owl in a park at night"], "'at noon', which not all prompts"),
    (["A dog in the snow at night", "A dog in the rain at night"], "no place in the same words"),
    (["A fox at noon", "An owl at noon"], "only 'at noon'"),
    (["A vibrant meadow", "A fox in a vibrant meadow"], "'meadow', a scene of its own"),
    (["In a park at noon", "In a park at noon, a fox runs"], "no entity after the scene"),
    (
        ["In a park, a boy sits on a wall", "In a park, a cat sits on a wall"],
        "another one after it",
    ),
    (["A square with a face", "A square with a star"], "'square', a scene of its own"),
    (["A forest under a red sky", "A desert under a red sky"], "'forest', a scene of its own"),
    # what stands beside the entity may belong to it
    (["A man sings in a suit", "A woman dances in a suit"], "'suit', which is not known"),
    (["A man on a beach with a hat", "A boy on a beach with a hat"], "'hat', which is not known"),
    (["A fox runs by a fox in snow", "An owl sits by a fox in snow"], "'fox', which is not known"),
    (["A girl under a blanket in a room", "A cat under a blanket in a room"], "'blanket', which"),
    (["A dog howls at the moon on a hill", "A wolf howls at the moon on a hill"], "'howling at'"),
    (["A cow jumps over the moon", "A dog jumps over the moon"], "'jumping over'"),
    (["A bear crosses a road in a forest", "A deer crosses a road in a forest"], "'road', a place"),
    (["A boy jumps off a wall in a park", "A dog jumps off a wall in a park"], "'off'"),
    # words that stand for others
    (["A table with a pear on it", "A table with an apple on it"], "'it', which may stand for"),
    (["A cat chasing its tail in a park", "A dog chasing its tail in a park"], "'its', which may"),
    (["A sign that glows in a park", "A lamp that glows in a park"], "'that', which may stand"),
    # more than one sentence, speech, markup, tags, weights
    (["A cat in a park. The sun shines.", "A dog in a park. The sun shines."], "the mark '.'"),
    (["A cat in a park! Rain", "A dog in a park! Rain"], "the mark '!'"),
    (['A sign "Open" in a park', 'A sign "Closed" in a park'], "the quotation mark"),
    (["A sign ‘yes’ in a park", "A sign ‘no’ in a park"], "the quotation mark"),
    (["A cat in a park [x]", "A dog in a park [x]"], "the sign '['"),
    (["(A cat:1.2) in a park", "(A dog:1.2) in a park"], "the sign '('"),
    (["A cat in a park --ar 3:2", "A dog in a park --ar 3:2"], "the sign '--'"),
    (["A cat &amp; a bat in a park", "A dog &amp; a bat in a park"], "the sign '&'"),
    (["1girl, red hair, park", "1girl, blue hair, park"], "'1girl'"),
    # adjectives with a comma, several things, pictures of pictures, names
    (["A small, brown dog in a park", "A small, white cat in a park"], "'small', which is not"),
    (["A cat and a dog in a park", "A cat and a boy in a park"], "'and'"),
    (["A painting of a cat in a park", "A painting of a dog in a park"], "a kind of picture"),
    (["Batman on a roof at night", "Superman on a roof at night"], "without an article"),
    (["A cyclist in Lisbon", "A jogger in Lisbon"], "'lisbon', which is not known"),
    (["Red Fox In A Park", "Grey Wolf In A Park"], "words in capitals"),
    # other languages, and nothing at all
    (["一只鹰在草地上飞", "一只狐狸在草地上跑"], "without an article"),
    (["Un chat dans un parc la nuit", "Un chien dans un parc la nuit"], "prompt 0 has"),
    (["Ein Hund im Park", "Ein Pferd im Park"], "prompt 0 has"),
    (["!!!", "???"], "the mark '!'"),
    (["A fox in a park.", "a fox in a park"], "the same entity 'A fox.'"),
]


@pytest.mark.parametrize(("prompts", "message"), REFUSED)
def test_what_is_not_plain_is_refused_with_what_was_found(prompts: list[str], message: str) -> None:
    (outcome,) = OfflineSplitter().split([_group(prompts)])
    assert isinstance(outcome, Rejection)
    assert outcome.reason == RejectReason.SPLIT_FAILED
    assert message in outcome.message
    assert "give background_prompt and entity_prompts with the group" in outcome.message
    assert "or split with a language model" in outcome.message


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
    assert split.edit_instructions[0, 1] == EditInstruction(
        "Replace the eagle with a red fox running.", "rule"
    )
    assert split.edit_instructions[1, 0].source == "rule"
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
    scene = "in a meadow" + ", soft light" * 200
    background, entities = separate([f"A kite flies {scene}", f"A car waits {scene}"])
    assert background == f"In a meadow{', soft light' * 200}."
    assert entities == ("A kite flies.", "A car waits.")


def test_what_is_told_of_a_long_prompt_is_short() -> None:
    words = " ".join(f"word{i}" for i in range(200))
    (outcome,) = OfflineSplitter().split([_group([f"A kite in {words}", f"A car in {words}"])])
    assert isinstance(outcome, Rejection)
    assert len(outcome.message) < 300
