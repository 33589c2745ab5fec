from typing import Any

import pytest
import torch

from coupled_core.generation.families.family import Family
from tests.unit.coupling.small_flux import (
    Inputs,
    couple,
    relative_error,
    run_coupled,
    run_stock,
)


def get_last_block(family: Family) -> Any:
    model = family.transformer
    return [*model.transformer_blocks, *getattr(model, "single_transformer_blocks", ())][-1].attn


def test_processors_are_the_same_objects_afterwards(family: Family) -> None:
    before = family.transformer.attn_processors
    with couple(family, "log_bias"):
        during = family.transformer.attn_processors
    after = family.transformer.attn_processors
    assert all(during[name] is not before[name] for name in before)
    assert all(after[name] is before[name] for name in before)


def test_processors_come_back_after_an_exception(family: Family, inputs: Inputs) -> None:
    before, expected = (
        family.transformer.attn_processors,
        run_stock(family, inputs, inputs.background),
    )
    with (
        pytest.raises(RuntimeError, match="must match the size"),
        couple(family, "key_scale") as attention,
    ):
        run_coupled(family, inputs, torch.full((2,), 0.5), attention)  # a batch of 3
    after = family.transformer.attn_processors
    assert all(after[name] is processor for name, processor in before.items())
    assert relative_error(run_stock(family, inputs, inputs.background), expected) == 0.0


def test_processors_come_back_when_installing_fails_halfway(family: Family) -> None:
    before = family.transformer.attn_processors
    last = get_last_block(family)

    def refuse(_: object) -> None:
        del last.set_processor
        raise RuntimeError("refused")

    last.set_processor = refuse
    with pytest.raises(RuntimeError, match="refused"), couple(family, "log_bias"):
        pass
    after = family.transformer.attn_processors
    assert all(after[name] is processor for name, processor in before.items())


def test_until_it_is_told_of_weights_the_model_is_the_stock_model(
    family: Family, inputs: Inputs
) -> None:
    expected = run_stock(family, inputs, inputs.background)
    with couple(family, "log_bias"):
        assert torch.equal(run_stock(family, inputs, inputs.background), expected)


def test_a_mask_is_refused(family: Family, inputs: Inputs) -> None:
    with couple(family, "log_bias"):
        rows = torch.zeros(1, 2, 32, dtype=torch.float64)
        with pytest.raises(ValueError, match="expects no attention mask"):
            get_last_block(family)(
                rows, encoder_hidden_states=rows, attention_mask=torch.ones(1, 2)
            )
