"""Where the parts of a base model are: on the device, or beside it while they are not in use."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline

from coupled_core.config import Offload
from coupled_core.generation.memory_plan import WAYS
from coupled_core.models.memory import is_out_of_memory

_MOVES: tuple[Offload, ...] = ("model", "group")
"""Where parts go when memory lacks; what is loaded whole does not return to the disk."""


@dataclass(frozen=True)
class Reload:
    """Loads the two halves of a pipeline that take turns, each anew."""

    texts: Callable[[], dict[str, Any]]
    """Returns the text encoders by name."""
    transformer: Callable[[], Any]
    skeleton: Callable[[], Any]
    """Returns the transformer without weights."""


class PlacedPipeline:
    """A pipeline on its device, which can be asked for room there."""

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        device: str,
        offload: Offload,
        may_move: bool = False,
        *,
        reload: Reload | None = None,
    ) -> None:
        """Place it, as far off the device as it takes where it may move.

        Args:
            pipeline: Loaded into main memory; with `reload` without its halves.
            device: As torch names it.
            offload: Where idle parts are, to begin with.
            may_move: Whether more may leave the device where memory lacks.
            reload: What to load the halves with, for offload disk.
        """
        self.pipeline, self._device = pipeline, device
        self._reload = reload
        may_move = may_move and reload is None and not device.startswith("cpu")
        later = WAYS[WAYS.index(offload) + 1 :] if may_move else ()
        self._steps = [way for way in _MOVES if way in later]
        """What can still be done, in order."""
        self.offload = offload
        try:
            self._place(offload)
        except Exception as error:
            if not is_out_of_memory(error) or self.free_more() is None:
                raise

    def free_more(self) -> str | None:
        """Move more of it off the device; return the option that does so; None: nothing is left."""
        while self._steps:
            offload = self._steps.pop(0)
            try:
                self._place(offload)
            except Exception as error:
                if not (self._steps and is_out_of_memory(error)):
                    raise
            else:
                return f"--offload {offload}"
        return None

    @contextmanager
    def reading_texts(self) -> Iterator[None]:
        """Have the text encoders there in the place of the transformer, which follows."""
        assert self._reload is not None, "for offload disk alone"
        self.pipeline.transformer = self._reload.skeleton()
        self._free()
        encoders = self._reload.texts()
        names = list(encoders)
        for name in names:
            setattr(self.pipeline, name, encoders.pop(name).to(self._device))
        try:
            yield
        finally:
            for name in names:
                setattr(self.pipeline, name, None)
            self._free()
        self.pipeline.transformer = self._reload.transformer().to(self._device)

    def _free(self) -> None:
        gc.collect()
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _place(self, offload: Offload) -> None:
        pipeline, device = self.pipeline, self._device
        if offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        elif offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        elif offload == "group":
            pipeline.remove_all_hooks()
            pipeline.to("cpu")
            pipeline.enable_group_offload(
                onload_device=torch.device(device),
                offload_type="leaf_level",
                use_stream=device.startswith("cuda"),
            )
        elif offload == "disk":
            pipeline.vae.to(device)
        else:
            pipeline.to(device)
        self.offload = offload
