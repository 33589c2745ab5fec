"""What the coupling assumes of diffusers' FLUX; a new version may break the method here."""

import inspect

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.models.transformers import transformer_flux
from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps
from torch import Tensor

from coupled_core.generation.families.family import compute_noise_levels
from coupled_core.generation.families.flux1 import Flux1

NUM_TEXT, NUM_IMAGE, HEADS, HEAD_DIM = 5, 9, 2, 8
WIDTH = HEADS * HEAD_DIM


@pytest.fixture
def transformer() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=4,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=12,
        pooled_projection_dim=12,
        axes_dims_rope=(2, 2, 4),
    ).eval()


@torch.no_grad()
def run(transformer: FluxTransformer2DModel, **changes: object) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "hidden_states": torch.randn(1, NUM_IMAGE, 4, generator=generator),
        "encoder_hidden_states": torch.randn(1, NUM_TEXT, 12, generator=generator),
        "pooled_projections": torch.randn(1, 12, generator=generator),
        "timestep": torch.tensor([0.5]),
        "img_ids": torch.arange(NUM_IMAGE * 3).reshape(NUM_IMAGE, 3).float(),
        "txt_ids": torch.zeros(NUM_TEXT, 3),
    }
    velocity: Tensor = transformer(**{**inputs, **changes}, return_dict=False)[0]
    return velocity


class Recorder:
    """Notes what a processor is given, and does the stock thing."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []

    def __call__(
        self,
        attn: transformer_flux.FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        beta: Tensor | None = None,
    ) -> object:
        self.calls.append({k: v for k, v in locals().items() if k not in ("self", "attn")})
        stock = transformer_flux.FluxAttnProcessor()
        return stock(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)


def test_processors_are_named_after_their_stream(transformer: FluxTransformer2DModel) -> None:
    double = [f"transformer_blocks.{i}.attn.processor" for i in range(2)]
    single = [f"single_transformer_blocks.{i}.attn.processor" for i in range(3)]
    assert list(transformer.attn_processors) == double + single


def test_the_stock_processor_takes_what_ours_takes() -> None:
    parameters = list(inspect.signature(transformer_flux.FluxAttnProcessor.__call__).parameters)
    assert parameters == [
        "self",
        "attn",
        "hidden_states",
        "encoder_hidden_states",
        "attention_mask",
        "image_rotary_emb",
    ]
    assert transformer_flux.FluxAttnProcessor._attention_backend is None
    assert transformer_flux.FluxAttnProcessor._parallel_config is None


def test_single_stream_blocks_see_text_before_image_and_no_encoder_rows(
    transformer: FluxTransformer2DModel,
) -> None:
    recorder, expected = Recorder(), run(transformer)
    transformer.set_attn_processor(recorder)
    velocity = run(transformer, joint_attention_kwargs={"beta": torch.tensor(0.25)})
    assert torch.equal(velocity, expected)
    double, single = recorder.calls[0], recorder.calls[-1]
    assert double["hidden_states"].shape == (1, NUM_IMAGE, WIDTH)  # type: ignore[attr-defined]
    assert double["encoder_hidden_states"].shape == (1, NUM_TEXT, WIDTH)  # type: ignore[attr-defined]
    assert single["hidden_states"].shape == (1, NUM_TEXT + NUM_IMAGE, WIDTH)  # type: ignore[attr-defined]
    assert single["encoder_hidden_states"] is None
    assert all(call["attention_mask"] is None for call in recorder.calls)
    assert all(call["beta"] == 0.25 for call in recorder.calls)
    cosines, _ = double["image_rotary_emb"]  # type: ignore[misc]
    assert cosines.shape == (NUM_TEXT + NUM_IMAGE, HEAD_DIM)
    assert (cosines[:NUM_TEXT] == 1).all(), "text rows are not rotated"


def test_text_rows_come_first_in_single_stream_blocks(transformer: FluxTransformer2DModel) -> None:
    recorder = Recorder()
    transformer.set_attn_processor(recorder)
    run(transformer)
    run(transformer, hidden_states=torch.zeros(1, NUM_IMAGE, 4))
    first_single = recorder.calls[2]["hidden_states"], recorder.calls[7]["hidden_states"]
    assert isinstance(first_single[0], Tensor)
    assert isinstance(first_single[1], Tensor)
    # After two double blocks, what changes with the image are still the image's rows.
    change = (first_single[0] - first_single[1]).norm(dim=-1)[0]
    assert change[:NUM_TEXT].max() < change[NUM_TEXT:].min()


def test_projections_come_as_query_key_value_of_image_then_text(
    transformer: FluxTransformer2DModel,
) -> None:
    attn = transformer.transformer_blocks[0].attn
    image, text = torch.randn(1, NUM_IMAGE, WIDTH), torch.randn(1, NUM_TEXT, WIDTH)
    projected = transformer_flux._get_qkv_projections(attn, image, text)
    expected = [attn.to_q(image), attn.to_k(image), attn.to_v(image)]
    expected += [attn.add_q_proj(text), attn.add_k_proj(text), attn.add_v_proj(text)]
    assert all(torch.equal(a, b) for a, b in zip(projected, expected, strict=True))


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize(("num_steps", "num_tokens"), [(4, 256), (28, 4096), (50, 1024)])
def test_noise_levels_are_those_of_the_pipeline(
    dynamic: bool, num_steps: int, num_tokens: int
) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic)
    ours = compute_noise_levels(Flux1, scheduler, num_steps, num_tokens)
    sigmas = np.linspace(1.0, 1 / num_steps, num_steps)
    stock, _ = retrieve_timesteps(
        scheduler, num_steps, "cpu", sigmas=sigmas, mu=calculate_shift(num_tokens)
    )
    assert torch.equal(ours.timesteps, stock)
    assert torch.equal(ours.sigmas, scheduler.sigmas)
    assert (ours.sigmas[0], ours.sigmas[-1]) == (1.0, 0.0)


def test_packing_puts_2_by_2_pixels_of_all_channels_into_a_token_and_back() -> None:
    latents = torch.arange(4 * 6 * 4).float().reshape(1, 4, 6, 4)
    packed = FluxPipeline._pack_latents(latents, 1, 4, 6, 4)
    assert packed.shape == (1, 6, 16)
    assert torch.equal(packed[0, 0].reshape(4, 2, 2), latents[0, :, :2, :2])
    assert torch.equal(FluxPipeline._unpack_latents(packed, 12, 8, 2), latents)
