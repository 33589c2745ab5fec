import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.partial_attention import (
    attend_plainly,
    attend_with_bias,
    attend_with_lse,
)
from coupled_core.coupling.weighted_attention import TextLayout, attend_log_bias


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(shape[2]), dtype=torch.float64
    )


on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize(
    ("device", "dtype", "tolerance"),
    [
        ("cpu", torch.float64, 1e-12),
        ("cpu", torch.float32, 1e-5),
        ("cpu", torch.bfloat16, 2e-2),
        pytest.param("cuda", torch.float64, 1e-12, marks=on_cuda),
        pytest.param("cuda", torch.float32, 1e-5, marks=on_cuda),
        pytest.param("cuda", torch.bfloat16, 2e-2, marks=on_cuda),
        pytest.param("cuda", torch.float16, 2e-2, marks=on_cuda),
    ],
)
def test_the_kernel_and_the_plain_form_agree_on_output_and_log_sum_exp(
    device: str, dtype: torch.dtype, tolerance: float
) -> None:
    query, key, value = (
        draw(2, 3, rows, 16).to(device, dtype).transpose(1, 2).contiguous().transpose(1, 2)
        for rows in (37, 11, 11)
    )
    kernel = attend_with_lse(query, key, value)
    for fast, plain in zip(kernel, attend_plainly(query, key, value), strict=True):
        assert fast.shape == plain.shape
        assert float((fast - plain).abs().max()) < tolerance


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


def test_texts_that_do_not_meet_ignore_each_other_and_images_see_both() -> None:
    generator = torch.Generator().manual_seed(3)
    query, key, value = (
        torch.randn(1, 2, 10, 8, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    layout, beta = TextLayout(3, 2), torch.tensor(0.4, dtype=torch.float64)
    apart = attend_log_bias(query, key, value, beta, layout, texts_meet=False)
    together = attend_log_bias(query, key, value, beta, layout)
    mask = torch.zeros(10, 10, dtype=torch.float64)
    mask[:, :3], mask[:, 3:5] = (1 - beta).log(), beta.log()
    mask[:3, 3:5] = mask[3:5, :3] = -torch.inf
    literal = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(apart, literal, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(apart[:, :, 5:], together[:, :, 5:], rtol=1e-12, atol=1e-12)
    assert (apart - together)[:, :, :5].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)],
)
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0, [0.2, 1.0]])
@pytest.mark.parametrize("is_padded", [False, True])
def test_one_kernel_with_a_bias_equals_the_merged_parts(
    dtype: torch.dtype, tolerance: float, beta: float | list[float], is_padded: bool
) -> None:
    query, key, value = (draw(2, 3, rows, 16).to(dtype) for rows in (30, 31, 32))
    key, value = key[:, :, :30], value[:, :, :30]
    mask = torch.ones(2, 1, 1, 30, dtype=torch.bool)
    mask[1, ..., 3:5] = mask[0, ..., 8:12] = False
    mask = mask if is_padded else None
    layout, weight = TextLayout(5, 7), torch.tensor(beta, dtype=torch.float64)
    biased = attend_log_bias(query, key, value, weight, layout, mask)
    # Who asks for a gradient gets the merged form.
    merged = attend_log_bias(query, key, value, weight.requires_grad_(), layout, mask)
    assert merged.requires_grad
    assert biased.dtype == merged.dtype == dtype
    assert not biased.requires_grad
    assert float((biased - merged.detach()).abs().max()) < tolerance


@pytest.mark.parametrize("rows", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_a_bias_of_any_type_counts_as_it_is(rows: torch.dtype, kind: torch.dtype) -> None:
    query, key, value = (draw(2, 3, n, 16)[:, :, :30].to(rows) for n in (30, 31, 32))
    bias = draw(1, 1, 1, 30).to(kind)
    logits = query.double() @ key.double().mT * 0.25 + bias.double()
    expected = logits.softmax(dim=-1) @ value.double()
    found = attend_with_bias(query, key, value, bias)
    assert found.dtype == rows
    tolerance = 2e-3 if rows == torch.float16 else 1e-5
    assert float((found.double() - expected).abs().max()) < tolerance
