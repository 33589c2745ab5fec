"""The command line: `coupled`. Nothing heavy is imported before a command runs."""

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

_EXIT_CODES = (
    "[bold]Exit codes[/]: 0 done, 1 unexpected, 2 wrong usage or bad input, 3 model unavailable, "
    "4 storage, 5 some shards failed (the others are committed), 130 interrupted (run it again to go on)."
)
_ENVIRONMENT = (
    "[bold]Environment[/]: PREFECT_API_URL names a running Prefect server (else a temporary one is started); "
    "AWS_PROFILE, AWS_ENDPOINT_URL and the rest of boto3's chain reach s3:// locations; HF_TOKEN and HF_HOME "
    "serve gated models and their cache."
)
_BUILD_EXAMPLES = """[bold]Examples[/]

coupled build

coupled build --prompts s3://bucket/prompts.parquet --output s3://bucket/pairs --base-model black-forest-labs/FLUX.1-dev --sam-model vit_h:sam_vit_h_4b8939.pth --clip-model ViT-L-14:openai --device cuda

coupled build --prompts prompts.parquet --on-bad-row quarantine --min-combined 1.2 --json > summary.json
"""
_GENERATE_EXAMPLES = """[bold]Example[/]

coupled generate "a red fox in a snowy forest at dawn" "a grey owl in a snowy forest at dawn" -o pair.png
"""

app = typer.Typer(
    name="coupled",
    help="Make datasets of image pairs that share a background and differ in what stands in it.",
    epilog=f"{_ENVIRONMENT}\n\n{_EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

_INPUT, _OUTPUT, _IMAGES, _SCORES, _RUN = "Input", "Output", "Images", "Scores", "Run"

Prompts = Annotated[
    str | None,
    typer.Option(
        help="Prompt set: a Parquet file, a folder of them, or an s3:// location of either. "
        "Default: the example set of the package.",
        rich_help_panel=_INPUT,
    ),
]
OnBadRow = Annotated[
    Literal["fail", "quarantine"] | None,
    typer.Option(
        help="What to do about unusable rows: stop before anything is spent (default), or go on without them.",
        rich_help_panel=_INPUT,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Settings as JSON, such as a snapshot's `config`; flags win over it.",
        rich_help_panel=_INPUT,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        help="Dataset: a folder or s3://BUCKET/PREFIX. Default: ./coupled-dataset.",
        rich_help_panel=_OUTPUT,
    ),
]
ShardSize = Annotated[
    int | None,
    typer.Option(min=1, help="Groups a shard, the unit of retry and of output files. Default: 16.", rich_help_panel=_OUTPUT),
]  # fmt: skip
SingleWriter = Annotated[
    bool | None,
    typer.Option(
        "--single-writer",
        help="Promise that nothing else writes there: for stores that ignore conditional writes.",
        rich_help_panel=_OUTPUT,
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        help="FLUX model: a Hugging Face id, a folder, or `miniature` (default, ships with the package).",
        rich_help_panel=_IMAGES,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(help="Commit or tag of a Hugging Face model.", rich_help_panel=_IMAGES),
]
Schedule = Annotated[
    str | None,
    typer.Option(help="Schedule file (JSON). Default: the one shipped for the base model.", rich_help_panel=_IMAGES),
]  # fmt: skip
CouplingMode = Annotated[
    Literal["log_bias", "key_scale"] | None,
    typer.Option(help="How the two texts are weighted. Default: what the schedule was made for.", rich_help_panel=_IMAGES),
]  # fmt: skip
EntityText = Annotated[
    Literal["full_prompt", "entity_prompt"] | None,
    typer.Option(help="What the entity stream reads. Default: full_prompt.", rich_help_panel=_IMAGES),
]  # fmt: skip
Seed = Annotated[
    int | None,
    typer.Option(help="Groups without a seed of their own derive theirs from this one. Default: 0.", rich_help_panel=_IMAGES),
]  # fmt: skip
Steps = Annotated[
    int | None,
    typer.Option(
        min=1, help="Denoising steps. Default: the base model's.", rich_help_panel=_IMAGES
    ),
]
Width = Annotated[
    int | None,
    typer.Option(min=16, help="Pixels. Default: the base model's.", rich_help_panel=_IMAGES),
]
Height = Annotated[
    int | None,
    typer.Option(min=16, help="Pixels. Default: the base model's.", rich_help_panel=_IMAGES),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Groups denoised together; the most work a kill can cost. Default: 8.", rich_help_panel=_IMAGES),
]  # fmt: skip
Device = Annotated[
    str | None,
    typer.Option(help="auto (default), cuda, cuda:N, mps or cpu.", rich_help_panel=_IMAGES),
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"] | None,
    typer.Option(help="auto (default): bfloat16 on CUDA, else float32.", rich_help_panel=_IMAGES),
]
Offload = Annotated[
    Literal["none", "model", "sequential"] | None,
    typer.Option(help="Keep idle model parts in main memory: slower, needs less GPU memory. Default: none.", rich_help_panel=_IMAGES),
]  # fmt: skip
SamModel = Annotated[
    str | None,
    typer.Option(
        help="Segment Anything: `miniature` (default), or TYPE:CHECKPOINT such as vit_h:sam_vit_h_4b8939.pth.",
        rich_help_panel=_SCORES,
    ),
]
ClipModel = Annotated[
    str | None,
    typer.Option(
        help="open_clip: `miniature` (default), ARCHITECTURE:PRETRAINED, hf-hub:ID or local-dir:FOLDER.",
        rich_help_panel=_SCORES,
    ),
]
MinCombined = Annotated[
    float | None,
    typer.Option(help="Drop pairs whose combined metric is lower; they stay in the manifest. Default: 1.0.", rich_help_panel=_SCORES),
]  # fmt: skip
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on standard output and nothing else.", rich_help_panel=_RUN),
]  # fmt: skip
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show what every task logs.", rich_help_panel=_RUN)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=_RUN)]


@app.command(epilog=f"{_BUILD_EXAMPLES}\n\n{_ENVIRONMENT}\n\n{_EXIT_CODES}")
def build(
    prompts: Prompts = None,
    on_bad_row: OnBadRow = None,
    config: ConfigFile = None,
    output: Output = None,
    shard_size: ShardSize = None,
    single_writer: SingleWriter = None,
    base_model: BaseModel = None,
    revision: Revision = None,
    schedule: Schedule = None,
    coupling_mode: CouplingMode = None,
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
    min_combined: MinCombined = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Build a dataset of pairs from a prompt set, or what is missing of it.

    Without options: the example prompts and the small models that the package ships, into ./coupled-dataset.
    The same command continues a run that was interrupted, and does nothing when nothing is missing.
    """
    settings = dict(locals())
    from flows.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, verbose=verbose, debug=debug)) as terminal:
        from flows.build_command import build_and_report
        from flows.options import read_config

        build_and_report(read_config(config, settings), terminal)


@app.command(epilog=_GENERATE_EXAMPLES + "\n\n" + _EXIT_CODES)
def generate(
    prompts: Annotated[list[str], typer.Argument(help="Two or more prompts that share a background.", show_default=False)],
    picture: Annotated[Path, typer.Option("-o", "--output", help="PNG with the images side by side.")],
    config: ConfigFile = None,
    base_model: BaseModel = None,
    revision: Revision = None,
    schedule: Schedule = None,
    coupling_mode: CouplingMode = None,
    entity_text: EntityText = None,
    seed: Seed = None,
    steps: Steps = None,
    width: Width = None,
    height: Height = None,
    device: Device = None,
    dtype: Dtype = None,
    offload: Offload = None,
    sam_model: SamModel = None,
    clip_model: ClipModel = None,
    min_combined: MinCombined = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Make one group of images from prompts given here, and print how its pairs score."""
    settings = {k: v for k, v in locals().items() if k not in ("prompts", "picture")}
    from flows.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, verbose=verbose, debug=debug)) as terminal:
        from flows.generate_command import generate_and_report
        from flows.options import read_config

        generate_and_report(prompts, picture, read_config(config, settings), terminal)


@app.command(epilog=_EXIT_CODES)
def validate(
    prompts: Annotated[str, typer.Argument(help="Parquet file, folder of them, or s3:// location.")],
    on_bad_row: OnBadRow = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Check a prompt set and say what is in it; unusable rows are named by file, row and value."""
    from flows.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.inspect_commands import validate_and_report
        from flows.options import read_config

        settings = {"prompts": prompts, "on_bad_row": on_bad_row}
        validate_and_report(read_config(None, settings), terminal)


@app.command(epilog=_EXIT_CODES)
def show(
    dataset: Annotated[str, typer.Argument(help="Folder or s3:// location.")] = "coupled-dataset",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a dataset holds now: its funnel and where its parts are."""
    from flows.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.inspect_commands import show_and_report

        show_and_report(dataset, terminal)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from coupled_core.version import package_version

        typer.echo(f"coupled-images {package_version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
