"""Attention to a part of the keys, with the log-sum-exp by which parts are merged exactly."""

import torch
from torch import Tensor

_FLASH_DTYPES = (torch.bfloat16, torch.float16)
_KERNEL_ALIGNMENT = 8  # the CUDA kernels want head sizes that are multiples of this


def attend_with_lse(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return softmax attention over these keys alone and the log-sum-exp of its logits.

    The fused kernels return the log-sum-exp without a gradient, so whatever asks for gradients
    takes the plain form; so do devices and dtypes without such a kernel.

    Args:
        query: (B, heads, S_q, head_dim).
        key: (B, heads, S_k, head_dim), S_k >= 1.
        value: like `key`.

    Returns:
        Output (B, heads, S_q, head_dim) in the dtype of `query`; log-sum-exp (B, heads, S_q), at
        least float32.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value)):
        return attend_plainly(query, key, value)
    if query.device.type == "cpu":
        # The public scaled_dot_product_attention runs the same kernels and throws their log-sum-exp
        # away.
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
        return output, lse
    if query.device.type == "cuda":
        return _attend_on_cuda(query, key, value)
    return attend_plainly(query, key, value)


def attend_plainly(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Do what `attend_with_lse` does by elementary, differentiable operations on any device."""
    # Sums of exponentials lose all their digits in bfloat16. float64 stays float64, for exact
    # tests.
    exact = torch.promote_types(query.dtype, torch.float32)
    # Logits: (B, heads, S_q, S_k), the whole matrix that the fused kernels never hold.
    logits = query.to(exact) @ key.to(exact).transpose(-1, -2) * query.shape[-1] ** -0.5
    lse = logits.logsumexp(dim=-1)
    output = (logits - lse.unsqueeze(-1)).exp() @ value.to(exact)
    return output.to(query.dtype), lse


def _attend_on_cuda(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    if query.shape[-1] % _KERNEL_ALIGNMENT:
        return attend_plainly(query, key, value)
    # The flash kernel takes half precision alone; the memory-efficient one returns its log-sum-exp
    # (the last argument asks for it) in float32, too. float64 has neither.
    if query.dtype in _FLASH_DTYPES:
        result = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)
        return result[0], result[1]
    if query.dtype == torch.float32:
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        result = kernel(query, key, value, None, True)
        return result[0], result[1][..., : query.shape[2]]  # padded to a multiple of 32 rows
    return attend_plainly(query, key, value)
