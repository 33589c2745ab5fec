"""Finished trials are found again where nothing that decides them has changed, and nowhere else."""

from dataclasses import replace
from typing import Any

import pytest

from coupled_core.config import GenerationConfig
from coupled_core.generation.provenance import resolve
from coupled_core.research.optimization.preparation import name_conditions
from coupled_core.research.optimization.settings import OptimizeSettings

PROVENANCE = resolve(GenerationConfig()).provenance
FACTS: dict[str, Any] = {
    "generation": PROVENANCE, "prompt_etags": ["a"], "splitter_identity": "b", "code": "c"
}  # fmt: skip


def name(run: dict[str, Any] | None = None, search: Any = None, **facts: Any) -> str:
    settings = OptimizeSettings.model_validate({"run": run or {}, **(search or {})})
    return name_conditions(settings, **{**FACTS, **facts})


@pytest.mark.parametrize(
    "run",
    [
        {"generation": {"seed": 5}},
        {"generation": {"num_inference_steps": 9}},
        {"filter": {"max_mask_fraction": 0.4}},
        {"scoring": {"clip_model": "ViT-B-32"}},
    ],
    ids=str,
)
def test_settings_that_decide_images_or_guards_are_in_the_name(run: dict[str, Any]) -> None:
    assert name(run) != name()


@pytest.mark.parametrize(
    "facts",
    [
        {"prompt_etags": ["x"]},
        {"splitter_identity": "x"},
        {"code": "x"},
        {"generation": replace(PROVENANCE, sampler_version="x")},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_prompts_splitter_model_and_code_are_in_the_name(facts: dict[str, Any]) -> None:
    assert name(**facts) != name()


@pytest.mark.parametrize(
    ("run", "search"),
    [
        ({"generation": {"batch_size": 3}}, {}),
        ({"filter": {"min_combined": 4.0, "max_crop_evidence": 0.3}}, {}),
        ({"output": {"uri": "elsewhere"}}, {}),
        ({}, {"objective": "background_similarity_clear", "num_candidates": 99, "workers": 4}),
    ],
    ids=str,
)
def test_what_decides_no_trial_is_not(run: dict[str, Any], search: dict[str, Any]) -> None:
    assert name(run, search) == name()
