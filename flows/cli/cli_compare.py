"""Commands of `coupled`: methods against each other. Nothing heavy is imported before one runs."""

from pathlib import Path
from typing import Annotated, Any

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
    Schedule,
    Seed,
    Steps,
    Verbose,
    Width,
)

_EXIT_CODES = (
    "[bold]Exit codes[/]: 0 done, 1 unexpected, 2 wrong usage or bad input, 3 model unavailable, "
    "4 storage, 130 interrupted (run it again)."
)
_COMPARE_EXAMPLES = """[bold]Examples[/]

coupled compare --trade-off --ablations

coupled compare --prompts test.parquet --train-prompts train.parquet --methods
coupled,prompt-switch,p2p --groups 100 --base-model black-forest-labs/FLUX.1-dev --device cuda
--sam-model vit_h:sam_vit_h_4b8939.pth --clip-model ViT-L-14:openai --output flux-dev

coupled compare --redraw --output flux-dev
"""
_CHECK_EXAMPLES = """[bold]Examples[/]

coupled check-scorers

coupled check-scorers --sam-model vit_b:sam_vit_b_01ec64.pth --clip-model ViT-B-32:openai --json
"""
_PANEL = "Comparison"


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_PANEL, **more)


Methods = Annotated[
    str | None,
    _option("Names with commas; `coupled`, what a build does, is always one. Default: all."),
]
Groups = Annotated[int | None, _option("Groups of --prompts, from the first. Default: all.", min=1)]
TrainPrompts = Annotated[
    str | None, _option("Prompt set to find knobs on. Default: miniature-train.")
]
TrainGroups = Annotated[int | None, _option("Groups of it. Default: 24.", min=1)]
SweepBudget = Annotated[
    int | None,
    _option("Candidates a method, its defaults first; 1: the defaults. Default: 24.", min=1),
]
TradeOff = Annotated[bool, _option("Follow each method along its main knob.", "--trade-off")]
TradeOffPoints = Annotated[int | None, _option("Points a curve. Default: 6.", min=2)]
Ablations = Annotated[bool, _option("Take the coupled method apart.", "--ablations")]
ExtraGroups = Annotated[
    int | None, _option("Groups for each point of a curve and each ablation. Default: 48.", min=1)
]
PictureRows = Annotated[int | None, _option("Pairs to show, the first ones. Default: 8.", min=0)]
ChunkSize = Annotated[
    int | None, _option("Groups between two saves, the most a kill costs. Default: 16.", min=1)
]
Folder = Annotated[Path, _option("Folder of results, pictures and finished work.", "--output")]
Redraw = Annotated[
    bool, _option("Only draw the results in --output again: no model is loaded.", "--redraw")
]
Renders = Annotated[
    int,
    typer.Option(help="Scenes, drawn at random, to measure on.", min=16, rich_help_panel="Scenes"),
]
SceneSeed = Annotated[int, typer.Option(help="Of the scenes.", rich_help_panel="Scenes")]


def compare(
    prompts: Prompts = None,
    on_bad_row: OnBadRow = None,
    config: ConfigFile = None,
    methods: Methods = None,
    groups: Groups = None,
    train_prompts: TrainPrompts = None,
    train_groups: TrainGroups = None,
    sweep_budget: SweepBudget = None,
    trade_off: TradeOff = False,
    trade_off_points: TradeOffPoints = None,
    ablations: Ablations = False,
    extra_groups: ExtraGroups = None,
    picture_rows: PictureRows = None,
    chunk_size: ChunkSize = None,
    output: Folder = Path("comparison"),
    redraw: Redraw = False,
    base_model: BaseModel = None,
    revision: Revision = None,
    schedule: Schedule = None,
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
    """Compare the coupled method with baselines: same noise, prompts, steps and scorers.

    Every method's knobs are first found on other prompts, by one search with one budget. Default
    prompts: the package's test set of 216 pairs. Kill it at any moment and run it again: it goes
    on.
    """
    given = dict(locals())
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, verbose=verbose, debug=debug)) as terminal:
        from flows.cli.compare import compare_and_report
        from flows.cli.compare_options import read_settings

        compare_and_report(read_settings(given), terminal, redraw=redraw)


def check_scorers(
    renders: Renders = 400,
    scene_seed: SceneSeed = 0,
    device: Device = None,
    sam_model: SamModel = None,
    clip_model: ClipModel = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure the scorers' own error on drawn scenes, of which entity, mask and place are known."""
    given = dict(locals())
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.check_scorers import check_scorers_and_report
        from flows.cli.options import read_config

        run = read_config(None, given)
        check_scorers_and_report(run, terminal, num_renders=renders, seed=scene_seed)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
    panel = "Research"
    app.command(epilog=f"{_COMPARE_EXAMPLES}\n\n{_EXIT_CODES}", rich_help_panel=panel)(compare)
    app.command(
        "check-scorers", epilog=f"{_CHECK_EXAMPLES}\n\n{_EXIT_CODES}", rich_help_panel=panel
    )(check_scorers)
