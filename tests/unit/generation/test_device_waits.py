"""Steps must not ask the device for values: the CPU would wait until it has done all it is at."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from torch.utils._python_dispatch import TorchDispatchMode

from coupled_core.generation.families.family import compute_noise_levels
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.generation.sampler import SamplerSettings, sample_groups
from coupled_core.records import CouplingMode
from tests.unit.generation.test_region_sampler import SETTINGS
from tests.unit.generation.test_sampler import BETAS, build_groups
from tests.unit.generation.tiny_pipeline import SIZE_PX

_QUESTIONS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class CountedQuestions(TorchDispatchMode):
    """Counts operations whose result the CPU has to see; on a GPU each of them waits."""

    num_questions = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.num_questions += func in _QUESTIONS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("mode", "first_step"),
    # The steps that read regions look at the evidence, on the CPU.
    [("log_bias", 0), ("region", 3)],
)
@torch.no_grad()
def test_steps_ask_the_device_nothing(
    pipeline: FluxPipeline, mode: CouplingMode, first_step: int
) -> None:
    family, betas = Flux1(pipeline), BETAS if mode == "log_bias" else [1.0] * 6
    frame = family.find_frame(SIZE_PX, SIZE_PX)
    questions, after_step = CountedQuestions(), list[int]()
    with questions:
        sample_groups(
            family,
            build_groups(pipeline, [2]),
            compute_noise_levels(Flux1, pipeline.scheduler, 6, len(frame.ids)),
            torch.tensor(betas, dtype=torch.float64),
            frame,
            SamplerSettings(mode, None, region=SETTINGS if mode == "region" else None),
            on_step=lambda _step, _of: after_step.append(questions.num_questions),
        )
    assert len(after_step) == 6
    assert after_step[first_step] == after_step[-1]
