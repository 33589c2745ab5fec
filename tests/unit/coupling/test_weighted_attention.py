import torch

from coupled_core.coupling.partial_attention import attend_plainly, attend_with_lse
from coupled_core.coupling.weighted_attention import TextLayout, attend_log_bias


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(shape[2]), dtype=torch.float64
    )


def test_the_kernel_and_the_plain_form_agree_on_output_and_log_sum_exp() -> None:
    query, key, value = draw(2, 3, 37, 16), draw(2, 3, 11, 16), draw(2, 3, 11, 16)
    for fast, plain in zip(
        attend_with_lse(query, key, value), attend_plainly(query, key, value), strict=True
    ):
        assert fast.shape == plain.shape
        assert torch.allclose(fast, plain, atol=1e-12)


def test_a_part_of_weight_zero_with_huge_logits_leaves_no_trace() -> None:
    """The exponential of such a part overflows float32; zero times infinity must not become NaN."""
    query, key, value = (draw(1, 1, 9, 8).float() for _ in range(3))
    key[:, :, 3:6] = 400.0 * query.mean(dim=2, keepdim=True).sign()
    query = query.abs() * query.mean(dim=2, keepdim=True).sign()
    layout = TextLayout(num_background_tokens=3, num_entity_tokens=3)
    beta = torch.tensor(0.0, requires_grad=True)
    output = attend_log_bias(query, key, value, beta, layout)
    kept = [0, 1, 2, 6, 7, 8]
    expected, _ = attend_plainly(query, key[:, :, kept], value[:, :, kept])
    assert torch.allclose(output, expected, atol=1e-5)
    (gradient,) = torch.autograd.grad(output.sum(), beta)
    assert gradient.isfinite()


def test_half_precision_stays_within_its_rounding_of_float32() -> None:
    query, key, value = draw(2, 2, 30, 32), draw(2, 2, 30, 32), draw(2, 2, 30, 32)
    layout, beta = TextLayout(5, 7), torch.tensor(0.3)
    exact = attend_log_bias(query, key, value, beta, layout)
    rounded = attend_log_bias(
        query.bfloat16(), key.bfloat16(), value.bfloat16(), beta.bfloat16(), layout
    )
    assert rounded.dtype == torch.bfloat16
    assert float((rounded - exact).norm() / exact.norm()) < 1e-2
