"""Processes of tests, forked from one that has imported everything: they start at once.

There is one such server in a process, and what it imports is said once, before it starts.
"""

from multiprocessing import get_context

_LIBRARIES = (
    "diffusers.pipelines.flux.pipeline_flux",
    "open_clip",
    "segment_anything",
    "scipy.ndimage",
    "pandas",
    "pyarrow.dataset",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "fastapi",
    "pydantic.v1",
)
_COMMAND = (
    "tests.warm_command",
    "flows.cli.main",
    "coupled_core.generation.generator",
    "coupled_core.report.contact_sheet",
    "coupled_core.report.report",
    "coupled_core.runs.build",
    "coupled_core.scoring.pair_scorer",
    "prefect.artifacts",
    "prefect.deployments.flow_runs",
    "prefect.flows",
    "prefect.runtime",
    "prefect.task_engine",
    "prefect.task_runners",
)
"""Neither our flows nor `prefect.main`: they read the settings of a command, and each has its own.

`warm_command` lets the rest of Prefect read them anew.
"""
_FROZEN = "tests.frozen"

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload([*_LIBRARIES, *_COMMAND, "tests.faults.disturbances", _FROZEN])


def preload(*modules: str, with_models: bool) -> None:
    """Import what a program imports there, too: else each process that it starts does so anew."""
    libraries = _LIBRARIES if with_models else ()
    FORKS.set_forkserver_preload([*libraries, *modules, _FROZEN])
