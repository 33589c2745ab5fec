"""Parts of a model leave the device one way after the other, as far as it takes."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from coupled_core.config import GenerationConfig, Offload
from coupled_core.generation.generator import load_generator
from coupled_core.generation.placement import PlacedPipeline
from coupled_core.records import GeneratedSample
from tests.unit.generation.tiny_pipeline import build_sample


class _OnSmallCard:
    """A pipeline of which the card holds only what this way of placing it leaves there."""

    def __init__(self, fits: str) -> None:
        self.fits, self.placed = fits, list[str]()

    def to(self, device: str) -> None:
        if device != "cpu":
            self._put("none")

    def enable_model_cpu_offload(self, device: str) -> None:
        self._put("model")

    def enable_sequential_cpu_offload(self, device: str) -> None:
        self._put("sequential")

    def remove_all_hooks(self) -> None:
        pass

    def enable_group_offload(self, **options: object) -> None:
        self._put("group")

    def _put(self, how: str) -> None:
        self.placed.append(how)
        ways = ["none", "model", "group", "sequential", "never"]
        if ways.index(how) < ways.index(self.fits):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def _asked(offload: str) -> tuple[Offload, bool]:
    """Where parts begin, and whether they may move on."""
    return (cast(Offload, offload), False) if offload != "auto" else ("none", True)


@pytest.mark.parametrize(
    ("offload", "fits", "placed"),
    [
        ("auto", "none", ["none"]),
        ("auto", "model", ["none", "model"]),
        ("auto", "group", ["none", "model", "group"]),
        ("model", "none", ["model"]),
    ],
)
def test_a_model_goes_as_far_off_the_card_as_the_settings_let_it_and_it_has_to(
    offload: str, fits: str, placed: list[str]
) -> None:
    card = _OnSmallCard(fits)
    PlacedPipeline(card, "cuda", *_asked(offload))  # type: ignore[arg-type]
    assert card.placed == placed


@pytest.mark.parametrize(
    ("offload", "device"), [("none", "cuda"), ("model", "cuda"), ("auto", "cpu")]
)
def test_where_the_settings_allow_no_more_nothing_is_moved(offload: str, device: str) -> None:
    placed = PlacedPipeline(_OnSmallCard("none"), device, *_asked(offload))  # type: ignore[arg-type]
    assert placed.free_more() is None


def test_a_card_that_is_too_small_for_all_ways_says_so_at_once() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        PlacedPipeline(_OnSmallCard("never"), "cuda", *_asked("auto"))  # type: ignore[arg-type]


def test_a_pipeline_that_is_moved_after_it_was_used_makes_the_same_images(
    model_folder: Path,
) -> None:
    pipeline = FluxPipeline.from_pretrained(model_folder)
    placed = PlacedPipeline(pipeline, "cpu", "none")
    placed._steps = ["model"]  # as on a card, which not every machine has
    generator = load_generator(GenerationConfig(num_inference_steps=2), pipeline)
    before = generator.generate([build_sample(0)])[0]
    assert placed.free_more() == "--offload model"
    after = generator.generate([build_sample(0)])[0]
    assert isinstance(before, GeneratedSample) and isinstance(after, GeneratedSample)
    assert (np.stack(before.images) == np.stack(after.images)).all()
