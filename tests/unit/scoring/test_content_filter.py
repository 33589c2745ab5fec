"""The content filter with a real CLIP: it finds what is forbidden, and leaves the rest alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coupled_core.concepts import SHIPPED, ConceptList, read_concepts
from coupled_core.config import ContentFilterConfig, RunConfig
from coupled_core.errors import ConfigError
from coupled_core.records import PromptGroup, Rejection, RejectReason
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import (
    AIRBORNE,
    COLOURS,
    ENTITIES,
    Scene,
    sample_scene,
)
from coupled_core.scoring.clip import ClipScorer, load_clip
from coupled_core.scoring.content_filter import (
    ContentFilter,
    content_filter_version,
    load_content_filter,
)
from coupled_core.splitting.refusal import accept_all, refusal_of

FORBIDDEN = ("red", "balloon")
PLACES = (
    "in a green meadow",
    "on a sandy beach",
    "in a dry desert",
    "in a snowy field",
    "in a dense forest",
    "by a calm lake",
    "in a busy city",
    "in the high mountains",
)
NO_RED_BALLOONS = ConceptList(
    name="no-red-balloons",
    concepts={"red_balloon": tuple(f"A red balloon {place}" for place in PLACES)},
    neutral=tuple(
        f"A {colour} {entity} {place}"
        for colour in COLOURS
        for entity in ENTITIES
        for place in PLACES
        if (colour, entity) != FORBIDDEN
    ),
    margin=-0.05,
    forbidden_words=("red balloon",),
)
"""The miniature's CLIP knows nothing worse."""


@pytest.fixture(scope="module")
def clip() -> ClipScorer:
    return load_clip("miniature", "cpu")


def _scenes(count: int, *, are_forbidden: bool) -> list[Scene]:
    random = np.random.default_rng(11)
    scenes = [sample_scene(random, dependence=0.0) for _ in range(count)]
    if are_forbidden:
        colour, entity = FORBIDDEN
        height = 0.3 if entity in AIRBORNE else 0.6
        return [replace(s, colour=colour, entity=entity, centre_y=height) for s in scenes]
    return [scene for scene in scenes if (scene.colour, scene.entity) != FORBIDDEN]


def test_what_is_forbidden_is_found_and_the_rest_is_not(clip: ClipScorer) -> None:
    content_filter = ContentFilter(NO_RED_BALLOONS, clip)
    found = {}
    for are_forbidden in (True, False):
        scenes = _scenes(60, are_forbidden=are_forbidden)
        embeddings = clip.embed_images([draw_scene(scene)[0] for scene in scenes])
        concepts = content_filter.find_concepts(embeddings)
        assert set(concepts) <= {(), ("red_balloon",)}
        found[are_forbidden] = sum(map(len, concepts)) / len(scenes)
    assert found[True] >= 0.9
    assert found[False] <= 0.05


def test_what_is_forbidden_is_found_at_the_side_of_a_wide_image(clip: ClipScorer) -> None:
    content_filter = ContentFilter(NO_RED_BALLOONS, clip)
    found = []
    for scene in _scenes(20, are_forbidden=True):
        empty = draw_scene(replace(scene, entity=None, colour=None))[0]
        wide = np.concatenate([draw_scene(scene)[0], empty[:, ::-1], empty], axis=1)
        (embedding,) = clip.embed_images([wide])
        found.append(content_filter.find_in_image(wide, embedding))
    assert found.count(("red_balloon",)) >= 18


def test_a_square_image_is_judged_by_its_embedding_alone(clip: ClipScorer) -> None:
    content_filter = ContentFilter(NO_RED_BALLOONS, clip)
    images = [draw_scene(scene)[0] for scene in _scenes(8, are_forbidden=True)]
    embeddings = clip.embed_images(images)
    found = [content_filter.find_in_image(*seen) for seen in zip(images, embeddings, strict=True)]
    assert found == content_filter.find_concepts(embeddings)


def test_a_wider_margin_finds_less(clip: ClipScorer) -> None:
    embeddings = clip.embed_images([draw_scene(s)[0] for s in _scenes(8, are_forbidden=True)])
    blind = ContentFilter(NO_RED_BALLOONS.model_copy(update={"margin": 2.0}), clip)
    assert blind.find_concepts(embeddings) == [()] * 8


def test_the_version_names_the_list_and_changes_with_it() -> None:
    version = content_filter_version(ContentFilterConfig(concept_list=NO_RED_BALLOONS))
    assert version
    assert version.startswith("clip-zero-shot-2:no-red-balloons:")
    other = NO_RED_BALLOONS.model_copy(update={"margin": 0.1})
    assert content_filter_version(ContentFilterConfig(concept_list=other)) != version
    assert content_filter_version(ContentFilterConfig()) is None


def test_the_shipped_list_is_the_default_except_for_a_clip_that_knows_none_of_it(
    clip: ClipScorer,
) -> None:
    assert load_content_filter(RunConfig().content_filter, clip) is None
    real = RunConfig.model_validate({"scoring": {"clip_model": "ViT-L-14:openai"}})
    assert real.content_filter.concept_list == SHIPPED
    assert RunConfig.model_validate(real.model_dump(mode="json")) == real
    off = real.model_dump(mode="json") | {"content_filter": {"concept_list": None}}
    assert RunConfig.model_validate(off).content_filter.concept_list is None


def test_a_concept_list_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "concepts.json"
    path.write_text(NO_RED_BALLOONS.model_dump_json())
    assert read_concepts(path) == NO_RED_BALLOONS


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "is not JSON"),
        (json.dumps({"name": "x", "concepts": {}, "neutral": ["a"]}), "concepts: "),
        (json.dumps({"name": "x", "concepts": {"a": ["b"]}, "neutral": [], "m": 1}), "neutral: "),
    ],
)
def test_a_wrong_concept_list_is_refused_and_says_what_is_wrong(
    tmp_path: Path, content: str, named: str
) -> None:
    path = tmp_path / "concepts.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=rf"concepts\.json.*{named}"):
        read_concepts(path)


@pytest.mark.parametrize(
    ("prompt", "is_refused"),
    [
        ("A Red\tBalloon drifts on a beach", True),
        ("(ｒｅｄ balloon)", True),
        ("red balloons drift on a beach", False),
        ("a tired balloon", False),
    ],
)
def test_forbidden_words_refuse_a_group_by_whole_words(prompt: str, is_refused: bool) -> None:
    refuse = refusal_of(ContentFilterConfig(concept_list=NO_RED_BALLOONS))
    found = refuse(PromptGroup("g", ("a tent on a beach", prompt), "set.parquet", 0))
    assert isinstance(found, Rejection) == is_refused
    if isinstance(found, Rejection):
        assert found.reason is RejectReason.UNSAFE
        assert "no-red-balloons" in found.message
    assert refusal_of(ContentFilterConfig()) is accept_all
