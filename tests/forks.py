"""Processes of tests, forked from one that has imported everything: they start at once.

There is one such server in a process, and what it imports is said once, before it starts.
"""

from multiprocessing import get_context

_LIBRARIES = (
    "diffusers.pipelines.flux.pipeline_flux",
    "open_clip",
    "segment_anything",
    "scipy.ndimage",
)
"""Not Prefect: it reads the environment when it is imported, and each command has its own."""

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload([*_LIBRARIES, "tests.faults.disturbances"])


def preload(*modules: str, with_models: bool) -> None:
    """Import what a program imports there, too: else each process that it starts does so anew."""
    FORKS.set_forkserver_preload([*(_LIBRARIES if with_models else ()), *modules])
