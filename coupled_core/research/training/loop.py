"""One training loop for all models of the miniature: optimisers, averaging, checkpoints."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

CHECKPOINT_SECONDS = 180
LOG_SECONDS = 30


@dataclass(frozen=True)
class LoopConfig:
    """How long and how hard to train."""

    name: str
    num_steps: int
    warmup_steps: int = 100
    decay_fraction: float = 0.3
    """Share of the steps, at the end, over which the learning rate falls linearly to zero."""
    ema_decay: float = 0.999
    max_grad_norm: float = 1.0


def build_optimizers(model: nn.Module, lr: float, *, weight_decay: float = 0.01) -> list[Optimizer]:
    """Return Muon for the weight matrices inside the network, AdamW for all else.

    Muon takes roughly half of AdamW's steps to the same loss on small transformers, which is what
    makes training on two CPU cores feasible.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inner = parameter.ndim == 2 and "embed" not in name and name != "proj_out.weight"
        (matrices if inner else others).append(parameter)
    optimizers: list[Optimizer] = [
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)
    ]
    if matrices:
        optimizers.append(Muon(matrices, 2 * lr, weight_decay=weight_decay))
    return optimizers


def train(
    config: LoopConfig,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    loss_at: Callable[[int], Tensor],
    work_dir: Path,
) -> None:
    """Run the loop to its end, from the last checkpoint if there is one.

    Leaves the averaged weights in `model`.

    Args:
        loss_at: the loss of one step, given its number; draws its batch from that number alone, so
            that a resumed run sees the batches that an undisturbed one would have seen.
    """
    path = work_dir / f"{config.name}.checkpoint.pt"
    averaged = {k: v.detach().clone() for k, v in model.state_dict().items()}
    base_lrs = [[group["lr"] for group in o.param_groups] for o in optimizers]
    first = _load(path, model, averaged, optimizers)
    saved_at = logged_at = started_at = time.monotonic()
    running = 0.0
    for step in range(first, config.num_steps):
        scale = _lr_scale(config, step)
        for optimizer, lrs in zip(optimizers, base_lrs, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * scale
        loss = loss_at(step)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        _average(model, averaged, min(config.ema_decay, (step + 1) / (step + 10)))
        running = (
            float(loss.detach()) if step == first else 0.98 * running + 0.02 * float(loss.detach())
        )
        now = time.monotonic()
        if now - logged_at > LOG_SECONDS:
            rate = (step + 1 - first) / (now - started_at)
            left = (config.num_steps - step) / rate / 60
            print(f"{config.name} step {step + 1}/{config.num_steps} loss {running:.4f} "
                  f"{rate:.2f} steps/s, {left:.0f} min left", flush=True)  # fmt: skip
            logged_at = now
        if now - saved_at > CHECKPOINT_SECONDS or step + 1 == config.num_steps:
            _save(path, step + 1, model, averaged, optimizers)
            saved_at = now
    model.load_state_dict(averaged)


def _lr_scale(config: LoopConfig, step: int) -> float:
    decay_steps = config.decay_fraction * config.num_steps
    return min(1.0, (step + 1) / config.warmup_steps, (config.num_steps - step) / decay_steps)


def _average(model: nn.Module, averaged: dict[str, Tensor], decay: float) -> None:
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averaged[name].lerp_(value, 1.0 - decay)
            else:
                averaged[name].copy_(value)


def _save(
    path: Path,
    step: int,
    model: nn.Module,
    averaged: dict[str, Tensor],
    optimizers: Sequence[Optimizer],
) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "averaged": averaged,
        "optimizers": [o.state_dict() for o in optimizers],
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _load(
    path: Path, model: nn.Module, averaged: dict[str, Tensor], optimizers: Sequence[Optimizer]
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for name, value in state["averaged"].items():
        averaged[name].copy_(value)
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Factors of the quintic iteration, tuned by Muon's authors for few steps."""
_ITERATIONS = 5


class Muon(Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), for weight matrices.

    Updates have the root mean square of AdamW's, so its learning rates fit. All in float32:
    torch.optim.Muon works in bfloat16, which is slow on CPUs.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                buffer = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                buffer.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonalise(matrix.grad.lerp(buffer, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonalise(matrix: Tensor) -> Tensor:
    """Return, about, the orthogonal factor of a matrix (M, N) by Newton-Schulz iteration."""
    a, b, c = _COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + torch.addmm(b * gram, gram, gram, alpha=c) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
