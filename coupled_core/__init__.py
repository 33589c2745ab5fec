"""Coupled Images: pairs of images that share one background and differ in what stands in it.

* `make_pair` makes a pair from two prompts, `score_images` scores two images that you have.
* `build_dataset` builds a dataset from groups of prompts, `open_dataset` reads one.

Importing this package imports nothing else; each name brings its libraries when it is first used.
What is not listed here may change between versions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coupled_core.config import RunConfig
    from coupled_core.dataset.opened import Dataset, StoredPair, open_dataset
    from coupled_core.errors import CoupledError
    from coupled_core.records import Decision, EntityMask, GroupSplit, PairScores, PromptGroup
    from coupled_core.runs.build import build_dataset
    from coupled_core.runs.pair import MadePair, make_pair, score_images

    __version__: str

__all__ = [
    "CoupledError",
    "Dataset",
    "Decision",
    "EntityMask",
    "GroupSplit",
    "MadePair",
    "PairScores",
    "PromptGroup",
    "RunConfig",
    "StoredPair",
    "__version__",
    "build_dataset",
    "make_pair",
    "open_dataset",
    "score_images",
]

_HOMES = {
    "config": ("RunConfig",),
    "dataset.opened": ("Dataset", "StoredPair", "open_dataset"),
    "errors": ("CoupledError",),
    "records": ("Decision", "EntityMask", "GroupSplit", "PairScores", "PromptGroup"),
    "runs.build": ("build_dataset",),
    "runs.pair": ("MadePair", "make_pair", "score_images"),
}
"""Which module has which names; read when a name is asked for."""


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name == "__version__":
        return import_module("coupled_core.version").package_version()
    for module, names in _HOMES.items():
        if name in names:
            found = getattr(import_module(f"coupled_core.{module}"), name)
            globals()[name] = found  # the next use does not come here
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, whether or not they were imported yet."""
    return sorted({*globals(), *__all__})
