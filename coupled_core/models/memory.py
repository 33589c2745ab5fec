"""Tells a lack of memory from other failures, and makes do with what there is.

The libraries that compute have an error each for it, some of them only a text.
"""

import gc
import logging
import sys
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_LOGGER = logging.getLogger(__name__)

_SIGNS = (
    "can't allocate memory",  # torch on the CPU
    "cannot allocate memory",  # the operating system
    "failed to map segment",  # the loader of a library
    "out of memory",  # torch on CUDA and MPS, where it has no class of its own
    "alloc_failed",  # cuBLAS and cuDNN
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory, of this machine or of its GPU, did not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError | OSError) and any(
        sign in text for sign in _SIGNS
    )


class Room:
    """How many things fit into memory together; learnt from failures, and remembered."""

    def __init__(self, free_more: Callable[[], str | None] = lambda: None) -> None:
        """Begin without having learnt anything.

        Args:
            free_more: Called where one thing alone does not fit: makes more room, and says how;
                None: there is no more.
        """
        self._free_more = free_more
        self._most: dict[Hashable, int] = {}

    def map(
        self,
        act: Callable[[Sequence[T]], Sequence[R]],
        items: Sequence[T],
        kind: Hashable = None,
        most: int | None = None,
    ) -> list[R]:
        """Return what `act` makes of all items, with half as many at a time where memory lacks.

        Where one alone does not fit more room is made, and sizes are learnt anew.

        Args:
            act: Makes one result an item, and the same results whatever comes together.
            items: Taken together as long as nothing has shown that they do not fit.
            kind: What decides how much one item takes, such as its size.
            most: Items that are known to fit; None: all may.

        Raises:
            Exception: what `act` raises; a lack of memory only where one item alone does not fit,
                whatever room was made.
        """
        made: list[R] = []
        to_begin = len(items) if most is None else most
        while len(made) < len(items):
            some = items[len(made) : len(made) + self._most.get(kind, to_begin)]
            try:
                made.extend(act(some))
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                lack = error.with_traceback(None)  # which holds on to what was computed
            _free_unused()
            cause = str(lack).partition("\n")[0]
            if len(some) > 1:
                self._most[kind] = len(some) // 2
                _LOGGER.warning(
                    "%d at a time do not fit into memory (%s): %d from now on, with the same "
                    "results", len(some), cause, self._most[kind],
                )  # fmt: skip
            elif how := self._free_more():
                # With more room, more may fit again.
                self._most.clear()
                _LOGGER.warning("one does not fit into memory (%s): from now on with %s, which is "
                                "slower and has the same results", cause, how)  # fmt: skip
            else:
                raise lack
        return made


def _free_unused() -> None:
    # Tracebacks and tensors may hold each other in a circle, which only the collector opens.
    gc.collect()
    torch = sys.modules.get("torch")  # whoever ran out of its memory has imported it
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
