"""Attention to a part of the keys, with the log-sum-exp by which parts are merged exactly."""

import torch
from torch import Tensor

_FLASH_DTYPES = (torch.bfloat16, torch.float16)
_KERNEL_ALIGNMENT = 8  # the CUDA kernels want head sizes that are multiples of this


def attend_with_lse(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return softmax attention over these keys alone and the log-sum-exp of its logits.

    The fused kernels return the log-sum-exp without a gradient, so whatever asks for gradients
    takes the plain form; so do devices and dtypes without such a kernel.

    Args:
        query: (B, heads, S_q, head_dim).
        key: (B, heads, S_k, head_dim), S_k >= 1.
        value: like `key`.
        mask: keys that count, bool, (B, 1, 1, S_k), one or more a row; None: all.

    Returns:
        Output (B, heads, S_q, head_dim) in the dtype of `query`; log-sum-exp (B, heads, S_q), at
        least float32.
    """
    if needs_gradient(query, key, value):
        return attend_plainly(query, key, value, mask)
    if query.device.type == "cpu":
        bias = None if mask is None else _to_bias(mask, query)
        # The public scaled_dot_product_attention runs the same kernels and throws their log-sum-exp
        # away.
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        output, lse = kernel(query, key, value, attn_mask=bias)
        return output, lse
    if query.device.type == "cuda":
        return _attend_on_cuda(query, key, value, mask)
    return attend_plainly(query, key, value, mask)


def needs_gradient(*inputs: Tensor) -> bool:
    """Say whether somebody will ask for the gradient by one of the inputs."""
    return torch.is_grad_enabled() and any(each.requires_grad for each in inputs)


def attend_with_bias(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Return attention with something added to the logits, (B or 1, 1, 1, S_k); CPU, no gradient.

    The bias may be -inf.
    """
    # Float64 rows with a bias in float32 come out wrong without a word; others are refused.
    bias = bias.to(torch.promote_types(query.dtype, torch.float32))
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output: Tensor = kernel(query, key, value, attn_mask=bias)[0]
    return output


def attend_plainly(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Do what `attend_with_lse` does by elementary, differentiable operations on any device."""
    # Sums of exponentials lose all their digits in bfloat16. float64 stays float64, for exact
    # tests.
    exact = torch.promote_types(query.dtype, torch.float32)
    # Logits: (B, heads, S_q, S_k), the whole matrix that the fused kernels never hold.
    logits = query.to(exact) @ key.to(exact).transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    lse = logits.logsumexp(dim=-1)
    output = (logits - lse.unsqueeze(-1)).exp() @ value.to(exact)
    return output.to(query.dtype), lse


def _to_bias(mask: Tensor, query: Tensor) -> Tensor:
    """Return what is added to the logits, (B, 1, 1, S_k), in rows as long as kernels want."""
    num_keys = mask.shape[-1]
    length = -(-num_keys // _KERNEL_ALIGNMENT) * _KERNEL_ALIGNMENT
    bias = query.new_zeros(len(mask), 1, 1, length)[..., :num_keys]
    return bias.masked_fill_(~mask, -torch.inf)


def _attend_on_cuda(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    if query.shape[-1] % _KERNEL_ALIGNMENT:
        return attend_plainly(query, key, value, mask)
    # The flash kernel takes half precision alone; the memory-efficient one returns its log-sum-exp
    # (the last argument asks for it) in float32, too. float64 has neither.
    if query.dtype in _FLASH_DTYPES and mask is None:
        result = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)
        return result[0], result[1]
    if query.dtype in (torch.float32, *_FLASH_DTYPES):
        # The one kernel that takes a mask; it reads it in the size of all logits, without a copy.
        shape = (*query.shape[:-1], key.shape[2])
        bias = None if mask is None else _to_bias(mask, query).expand(shape)
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        result = kernel(query, key, value, bias, True)
        return result[0], result[1][..., : query.shape[2]]  # padded to a multiple of 32 rows
    return attend_plainly(query, key, value, mask)
