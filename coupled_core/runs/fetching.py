"""Says how far the hub's files of a base model have come, while a library fetches them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coupled_core.generation.footprint import hub_bytes
from coupled_core.generation.model_files import find_folder, list_known_models
from coupled_core.report.numbers import format_bytes

_EVERY_SECONDS = 2.0


@contextmanager
def told_fetching(
    base_model: str, tell: Callable[[str], None], every_seconds: float = _EVERY_SECONDS
) -> Iterator[None]:
    """Tell every now and then, while something inside fetches, how many bytes are there.

    The cache's folder is looked at, because the libraries between us and the hub offer no way to
    hear it from them.

    Args:
        base_model: As in the settings; of a folder nothing is told.
        tell: Called in a thread of its own.
    """
    if find_folder(base_model) is not None:
        yield
        return
    known, done = list_known_models().get(base_model), threading.Event()
    total = f" of {format_bytes(hub_bytes(known))}" if known and hub_bytes(known) else ""

    told = _stored_bytes(base_model)

    def watch() -> None:
        nonlocal told
        while not done.wait(every_seconds):
            found = _stored_bytes(base_model)
            if found > told:
                told = found
                # A listener may raise what a signal calls for; the main thread's does so, too.
                with suppress(BaseException):
                    tell(f"fetched {format_bytes(found)}{total} of {base_model}")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _stored_bytes(base_model: str) -> int:
    """Return what the cache holds of a model, files that are half there included."""
    from huggingface_hub.constants import HF_HUB_CACHE

    # The hub's cache stores content by its hash here; names in snapshots/ are links to it.
    blobs = Path(HF_HUB_CACHE) / f"models--{base_model.replace('/', '--')}" / "blobs"
    sizes = []
    for path in blobs.glob("*"):
        with suppress(OSError):  # renamed at this moment, when it is whole
            sizes.append(path.stat().st_size)
    return sum(sizes)
