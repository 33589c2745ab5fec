import pytest
import torch
from diffusers import FluxTransformer2DModel

from coupled_core.coupling.install import coupled_attention
from tests.unit.coupling.small_flux import Inputs, relative_error, run_coupled, run_stock


def test_processors_are_the_same_objects_afterwards(transformer: FluxTransformer2DModel) -> None:
    before = transformer.attn_processors
    with coupled_attention(transformer, "log_bias"):
        during = transformer.attn_processors
    after = transformer.attn_processors
    assert all(during[name] is not before[name] for name in before)
    assert all(after[name] is before[name] for name in before)


def test_processors_come_back_after_an_exception(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    before, expected = (
        transformer.attn_processors,
        run_stock(transformer, inputs, inputs.background),
    )
    with (
        pytest.raises(RuntimeError, match="must match the size"),
        coupled_attention(transformer, "key_scale"),
    ):
        run_coupled(transformer, inputs, torch.full((2,), 0.5))  # a batch of 3
    assert all(transformer.attn_processors[name] is processor for name, processor in before.items())
    assert relative_error(run_stock(transformer, inputs, inputs.background), expected) == 0.0


def test_processors_come_back_when_installing_fails_halfway(
    transformer: FluxTransformer2DModel,
) -> None:
    before = transformer.attn_processors
    last = transformer.single_transformer_blocks[-1].attn

    def refuse(_: object) -> None:
        del last.set_processor
        raise RuntimeError("refused")

    last.set_processor = refuse
    with pytest.raises(RuntimeError, match="refused"), coupled_attention(transformer, "log_bias"):
        pass
    assert all(transformer.attn_processors[name] is processor for name, processor in before.items())


def test_a_call_without_beta_says_what_is_missing(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    with (
        coupled_attention(transformer, "log_bias"),
        pytest.raises(ValueError, match="expects `beta` in joint_attention_kwargs"),
    ):
        run_stock(transformer, inputs, inputs.background)
