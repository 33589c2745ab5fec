"""Commands of `coupled`: schedules fitted to prompts. Nothing heavy is imported before one runs."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.cli.cli_options import (
    AsJson,
    BaseModel,
    BatchSize,
    ClipModel,
    ConfigFile,
    Debug,
    Device,
    Dtype,
    EntityText,
    Height,
    Offload,
    OnBadRow,
    Prompts,
    Revision,
    SamModel,
    Seed,
    Steps,
    Verbose,
    Width,
)

_EXIT_CODES = (
    "[bold]Exit codes[/]: 0 done, 1 unexpected, 2 wrong usage or bad input, 3 model unavailable, "
    "4 storage, 130 interrupted (run it again)."
)
_EXAMPLES = """[bold]Examples[/]

coupled optimize --prompts train.parquet --budget 60 --groups 32 -o schedule.json

coupled optimize --prompts train.parquet --base-model black-forest-labs/FLUX.1-dev --device cuda
--family isotonic --mode log_bias --budget 120 --groups 64 -o flux-dev.json
"""
_PANEL = "Search"


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_PANEL, **more)


Family = Annotated[
    Literal["step", "arctan", "sine", "isotonic"],
    _option("Shape of beta over the noise level. isotonic: a sine first, then free knots."),
]
Mode = Annotated[
    Literal["log_bias", "key_scale", "region"] | None,
    _option(
        "How background and entity are coupled; a schedule does not carry over to another mode. "
        "Default: the base model's."
    ),
]
Budget = Annotated[int, _option("Candidates in all; more continue a search that ended.", min=1)]
Groups = Annotated[
    int | None,
    _option("Groups of the set to use, half of them for validation. Default: all.", min=2),
]
Knots = Annotated[int, _option("Of family isotonic.", min=3, max=64)]
Finalists = Annotated[
    int,
    _option("Best candidates to compare again on other noise; 1: the search decides.", min=1),
]
FinalNoises = Annotated[
    int, _option("Noises on which the finalists make each training group.", min=1)
]
Against = Annotated[
    Path | None,
    _option("Schedule file to compare with. Default: the one shipped for the model and mode."),
]
CheckSteps = Annotated[
    str, _option("Step counts at which to try the result, with commas; empty for none.")
]
Workers = Annotated[
    int, _option("Candidates side by side, each in a process with its own models.", min=1)
]
ScheduleOutput = Annotated[
    Path, _option("Schedule file; picture and state of the search go beside it.", "-o", "--output")
]


def optimize(
    output: ScheduleOutput,
    prompts: Prompts = None,
    on_bad_row: OnBadRow = None,
    config: ConfigFile = None,
    family: Family = "isotonic",
    mode: Mode = None,
    budget: Budget = 60,
    groups: Groups = None,
    knots: Knots = 8,
    finalists: Finalists = 6,
    final_noises: FinalNoises = 3,
    against: Against = None,
    check_steps: CheckSteps = "20,28,50",
    workers: Workers = 1,
    base_model: BaseModel = None,
    revision: Revision = None,
    entity_text: EntityText = None,
    seed: Seed = None,
    steps: Steps = None,
    width: Width = None,
    height: Height = None,
    batch_size: BatchSize = None,
    device: Device = None,
    dtype: Dtype = None,
    offload: Offload = None,
    sam_model: SamModel = None,
    clip_model: ClipModel = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Fit a schedule to prompts: the one with the largest combined metric J that CMA-ES finds.

    Half of the groups are searched on, the others only judge the result. Kill it at any moment and
    run it again: it goes on.
    """
    given = dict(locals())
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, verbose=verbose, debug=debug)) as terminal:
        from flows.cli.optimize import optimize_and_report
        from flows.cli.optimize_options import read_settings

        optimize_and_report(read_settings(given), terminal)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
    app.command(epilog=f"{_EXAMPLES}\n\n{_EXIT_CODES}", rich_help_panel="Research")(optimize)
