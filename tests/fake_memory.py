"""Counts what is alive while fake tensors compute: exact bytes, no memory, no time."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _PeakMode(TorchDispatchMode):
    def __init__(self, known: dict[int, int]) -> None:
        super().__init__()
        self._alive, self._now, self.peak = known, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in (each for each in tree_leaves(out) if isinstance(each, torch.Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._alive:
                self._alive[storage._cdata] = storage.nbytes()
                self._now += storage.nbytes()
                weakref.finalize(storage, self._drop, storage._cdata)
        self.peak = max(self.peak, self._now)
        return out

    def _drop(self, key: int) -> None:
        self._now -= self._alive.pop(key, 0)


def count_peak(model: nn.Module, run: Callable[[], Any]) -> int:
    """Return the most bytes that were alive at once during a call, weights not counted."""
    held = [each.untyped_storage() for each in (*model.parameters(), *model.buffers())]
    with torch.no_grad(), _PeakMode({each._cdata: 0 for each in held}) as mode:
        run()
    return mode.peak
