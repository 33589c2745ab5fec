"""What holds for every method: costs, progress, batches, sizes, rejections, and a clean model."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from coupled_core.errors import ConfigError
from coupled_core.records import Rejection, RejectReason
from coupled_core.research.methods.method import Method, MethodOutput
from coupled_core.research.methods.registry import METHOD_NAMES
from coupled_core.research.methods.stock import StockMethod, StockModel
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    NUM_IMAGE_TOKENS,
    NUM_STEPS,
    SOURCE_METHODS,
    default_knobs,
    largest_difference,
    mean_difference,
    run_sample,
    with_prompts,
)

every_method = pytest.mark.parametrize("name", METHOD_NAMES)


# The masks by which cut-and-paste cuts have hard edges: one level more or less may move them.
@pytest.mark.parametrize("name", [name for name in METHOD_NAMES if name != "cut-and-paste"])
def test_images_do_not_depend_on_the_batch_beyond_one_level(
    methods: Mapping[str, Method], name: str
) -> None:
    method = methods[name]
    samples = [build_sample(0, 2), build_sample(1, 3), build_sample(2, 2)]
    outputs = method.generate(samples, default_knobs(method.knobs))
    for sample, together in zip(samples, outputs, strict=True):
        assert isinstance(together, MethodOutput)
        alone = run_sample(method, sample)
        assert largest_difference(alone, np.stack(together.images).astype(int)) <= 1


@pytest.mark.parametrize(
    ("name", "of_pair", "of_triple"),
    [
        ("random-seed", 2 * NUM_STEPS, 3 * NUM_STEPS),
        ("prompt-switch", 2 * NUM_STEPS - 2, 3 * NUM_STEPS - 4),
        ("p2p", 2 * NUM_STEPS, 3 * NUM_STEPS),
        ("p2p-efficient", 2 * NUM_STEPS, 3 * NUM_STEPS),
        ("stable-flow", 2 * NUM_STEPS, 3 * NUM_STEPS),
        ("latent-pull", 2 * NUM_STEPS, 3 * NUM_STEPS),
        ("rf-inversion", 3 * NUM_STEPS, 4 * NUM_STEPS),
        ("flowedit", NUM_STEPS + 2 * 2 * 3, NUM_STEPS + 3 * 2 * 3),
    ],
)
def test_model_evaluations_are_those_of_the_algorithm(
    methods: Mapping[str, Method], name: str, of_pair: int, of_triple: int
) -> None:
    chosen = {"switch": 0.4, "n_max": 0.6, "n_avg": 2}
    method = methods[name]
    knobs = {k: chosen.get(k, v) for k, v in default_knobs(method.knobs).items()}
    pair, triple = method.generate([build_sample(0, 2), build_sample(1, 3)], knobs)
    assert isinstance(pair, MethodOutput)
    assert isinstance(triple, MethodOutput)
    assert (pair.model_evaluations, triple.model_evaluations) == (of_pair, of_triple)
    assert triple.seconds / pair.seconds == pytest.approx(of_triple / of_pair)


@every_method
def test_as_many_rows_go_through_the_transformer_as_are_counted(
    methods: Mapping[str, Method], model: StockModel, name: str
) -> None:
    method, tokens = methods[name], []
    hook = model.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: tokens.append(kwargs["hidden_states"][..., 0].numel()),
        with_kwargs=True,
    )
    try:
        outputs = method.generate(
            [build_sample(0, 2), build_sample(1, 3)], default_knobs(method.knobs)
        )
    finally:
        hook.remove()
    counted = sum(output.model_evaluations for output in outputs)
    assert counted == pytest.approx(sum(tokens) / NUM_IMAGE_TOKENS)


@every_method
def test_progress_ends_at_the_announced_total(methods: Mapping[str, Method], name: str) -> None:
    seen: list[tuple[int, int]] = []
    method = methods[name]
    method.generate(
        [build_sample(0)], default_knobs(method.knobs), lambda *counts: seen.append(counts)
    )
    assert seen == [(i, len(seen)) for i in range(1, len(seen) + 1)]
    assert len(seen) >= NUM_STEPS


@every_method
def test_the_model_is_as_before_after_an_exception_in_the_middle(
    methods: Mapping[str, Method], model: StockModel, name: str
) -> None:
    before = dict(model.transformer.attn_processors)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    method = methods[name]
    with pytest.raises(KeyboardInterrupt):
        method.generate([build_sample(0)], default_knobs(method.knobs), interrupt)
    assert model.transformer.attn_processors == before
    assert not model.transformer._forward_pre_hooks


@every_method
def test_groups_of_other_sizes_share_a_call_and_a_wrong_size_rejects_its_group_alone(
    methods: Mapping[str, Method], name: str
) -> None:
    method = methods[name]
    samples = [build_sample(i, size_px=size) for i, size in enumerate([32, 30, 16])]
    large, rejected, small = method.generate(samples, default_knobs(method.knobs))
    assert isinstance(large, MethodOutput)
    assert isinstance(small, MethodOutput)
    assert large.images[0].shape == (32, 32, 3)
    assert small.images[1].shape == (16, 16, 3)
    assert isinstance(rejected, Rejection)
    assert rejected.reason is RejectReason.GENERATION_FAILED
    assert "group group-1, seed 1: width must be a multiple of 4 px" in rejected.message


def test_images_that_are_not_finite_reject_their_sample_alone(
    methods: Mapping[str, Method], model: StockModel
) -> None:
    original = methods["random-seed"]
    assert isinstance(original, StockMethod)

    def overflow(run, knobs):
        latents = original.denoise(run, knobs)
        latents[1, 0, 0] = torch.inf
        return latents

    broken = StockMethod("overflowing", model, overflow)
    rejected, good = broken.generate([build_sample(0), build_sample(1)], {})
    assert isinstance(good, MethodOutput)
    assert isinstance(rejected, Rejection)
    assert "group group-0, seed 0: overflowing: images [1] of 2" in rejected.message
    assert "not finite (dtype float32" in rejected.message


@every_method
def test_defaults_lie_in_their_ranges_and_the_main_knob_is_a_knob(
    methods: Mapping[str, Method], name: str
) -> None:
    method = methods[name]
    assert method.name == name
    assert all(knob.low <= knob.default <= knob.high and knob.meaning for knob in method.knobs)
    assert (method.main_knob is None) == (not method.knobs)
    assert method.main_knob in {None, *(knob.name for knob in method.knobs)}


def test_a_missing_and_an_unknown_knob_are_refused(methods: Mapping[str, Method]) -> None:
    message = r"latent-pull expects the knobs \['stop', 'strength'\]; got \['stap', 'strength'\]"
    with pytest.raises(ConfigError, match=message):
        methods["latent-pull"].generate([build_sample(0)], {"strength": 1.0, "stap": 1.0})


@pytest.mark.parametrize("name", SOURCE_METHODS)
def test_image_0_is_the_one_of_the_random_seed(methods: Mapping[str, Method], name: str) -> None:
    sample = build_sample(3)
    edited, stock = run_sample(methods[name], sample), run_sample(methods["random-seed"], sample)
    assert largest_difference(edited[0], stock[0]) <= 1
    assert largest_difference(edited[1], stock[1]) > 1


@pytest.mark.parametrize("name", SOURCE_METHODS)
def test_an_edit_does_not_depend_on_the_other_edits(
    methods: Mapping[str, Method], name: str
) -> None:
    triple = build_sample(3, 3)
    prompts = triple.group.prompts
    pair = with_prompts(triple, prompts[0], prompts[2])
    in_triple, in_pair = run_sample(methods[name], triple), run_sample(methods[name], pair)
    assert largest_difference(in_triple[[0, 2]], in_pair) <= 1


@every_method
def test_a_guided_model_works_in_bfloat16_much_as_in_float32(
    guided_methods: Mapping[str, Method], bfloat16_methods: Mapping[str, Method], name: str
) -> None:
    exact, rounded = (
        run_sample(methods[name], build_sample(0)) for methods in (guided_methods, bfloat16_methods)
    )
    other = run_sample(guided_methods[name], build_sample(0, seed=99))
    assert 0 < mean_difference(exact, rounded) < mean_difference(exact, other) / 3
