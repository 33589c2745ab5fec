"""All methods on a tiny model of the real classes, and what tests look at in their images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coupled_core.config import GenerationConfig
from coupled_core.records import Sample
from coupled_core.research.methods.method import Knob, Method, MethodOutput
from coupled_core.research.methods.registry import METHOD_NAMES, load_methods
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample

NUM_STEPS = 5
NUM_IMAGE_TOKENS = (SIZE_PX // 4) ** 2
SOURCE_METHODS = ("p2p", "p2p-efficient", "rf-inversion", "stable-flow", "flowedit")
"""Those that edit image 0."""


def load_all(folder: Path, **changes: object) -> Mapping[str, Method]:
    values = {"base_model": str(folder), "device": "cpu", "num_inference_steps": NUM_STEPS}
    return load_methods(METHOD_NAMES, GenerationConfig.model_validate({**values, **changes}))


def default_knobs(knobs: Sequence[Knob]) -> dict[str, float]:
    return {knob.name: knob.default for knob in knobs}


def run_sample(method: Method, sample: Sample, **knobs: float) -> np.ndarray:
    """Return the images of one sample, int64 (N, H, W, 3), with defaults for the other knobs."""
    (output,) = method.generate([sample], {**default_knobs(method.knobs), **knobs})
    assert isinstance(output, MethodOutput), output
    return np.stack(output.images).astype(int)


def with_prompts(sample: Sample, *prompts: str) -> Sample:
    return replace(sample, group=replace(sample.group, prompts=prompts))


def with_one_prompt(num_images: int = 2) -> Sample:
    """A group whose prompts are all the same."""
    sample = build_sample(4, num_images)
    return with_prompts(sample, *[sample.group.prompts[0]] * num_images)


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a - b).max())


def random_rows(num_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, (3, 2, num_rows, 8)."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 3, 2, num_rows, 8).unbind(0)
    return 3 * query, key, value
