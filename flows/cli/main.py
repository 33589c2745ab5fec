"""The command line: `coupled`. Nothing heavy is imported before a command runs."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import (
    cli_compare,
    cli_dataset,
    cli_export,
    cli_optimize,
    cli_plan,
    cli_quality,
    cli_report,
)
from flows.cli.cli_options import (
    AsJson,
    Attempts,
    BaseModel,
    BatchSize,
    ClipModel,
    ConfigFile,
    ContentFilter,
    CouplingMode,
    Debug,
    Device,
    DropDuplicates,
    Dtype,
    EarlyStop,
    EntityText,
    Height,
    MaxLlmUsd,
    MinCombined,
    Offload,
    OnBadRow,
    Output,
    Prompts,
    Quota,
    RefreshSplit,
    Revision,
    SamModel,
    Schedule,
    Seed,
    ShardSize,
    SingleWriter,
    SplitCache,
    SplitModel,
    Splitter,
    SplitTransport,
    Steps,
    StoreDropped,
    Verbose,
    Width,
)

_EXIT_CODES = (
    "[bold]Exit codes[/]: 0 done, 1 unexpected, 2 wrong usage or bad input, 3 model unavailable, "
    "4 storage, 5 some shards failed (the others are committed), "
    "6 language model refused, unreachable or at its cap (what is finished is committed), "
    "130 interrupted (run it again)."
)
_ENVIRONMENT = (
    "[bold]Environment[/]: PREFECT_API_URL names a running Prefect server (else a temporary one is "
    "started); AWS_PROFILE, AWS_ENDPOINT_URL and the rest of boto3's chain reach s3:// locations; "
    "ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL) let a language model split prompts; "
    "HF_TOKEN and HF_HOME serve gated models and their cache."
)
_BUILD_EXAMPLES = """[bold]Examples[/]

coupled build

coupled build --prompts prompts.parquet --on-bad-row quarantine --min-combined 1.2 --json

coupled build --prompts s3://bucket/set.parquet --output s3://bucket/pairs --device cuda
--base-model black-forest-labs/FLUX.1-dev --sam-model vit_h:sam_vit_h_4b8939.pth
--clip-model ViT-L-14:openai
"""
_GENERATE_EXAMPLES = """[bold]Example[/]

coupled generate "a red fox in a snowy forest" "a grey owl in a snowy forest" -o pair.png
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


@app.command(epilog=f"{_BUILD_EXAMPLES}\n\n{_ENVIRONMENT}\n\n{_EXIT_CODES}")
def build(
    prompts: Prompts = None,
    on_bad_row: OnBadRow = None,
    config: ConfigFile = None,
    splitter: Splitter = None,
    split_model: SplitModel = None,
    split_transport: SplitTransport = None,
    split_cache: SplitCache = None,
    max_llm_usd: MaxLlmUsd = None,
    refresh_split: RefreshSplit = None,
    output: Output = None,
    shard_size: ShardSize = None,
    single_writer: SingleWriter = None,
    store_dropped: StoreDropped = None,
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
    content_filter: ContentFilter = None,
    drop_duplicates: DropDuplicates = None,
    attempts: Attempts = None,
    quota: Quota = None,
    early_stop: EarlyStop = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Build a dataset of pairs from a prompt set, or what is missing of it.

    Without options: the example prompts and the small models of the package, into
    ./coupled-dataset. The same command continues a run that was interrupted, and does nothing when
    nothing is missing.
    """
    settings = dict(locals())
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, verbose=verbose, debug=debug)) as terminal:
        from flows.cli.build import build_and_report
        from flows.cli.options import read_config

        build_and_report(read_config(config, settings), terminal)


@app.command(epilog=_GENERATE_EXAMPLES + "\n\n" + _EXIT_CODES)
def generate(
    prompts: Annotated[
        list[str], typer.Argument(help="Two or more prompts that share a background.")
    ],
    picture: Annotated[
        Path, typer.Option("-o", "--output", help="PNG with the images side by side.")
    ],
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
) -> None:
    """Make one group of images from prompts given here, and print how its pairs score."""
    settings = {k: v for k, v in locals().items() if k not in ("prompts", "picture")}
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, verbose=verbose, debug=debug)) as terminal:
        from flows.cli.generate import generate_and_report
        from flows.cli.options import read_config

        generate_and_report(prompts, picture, read_config(config, settings), terminal)


@app.command(epilog=_EXIT_CODES)
def validate(
    prompts: Annotated[
        str, typer.Argument(help="Parquet file, folder of them, or s3:// location.")
    ],
    on_bad_row: OnBadRow = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check a prompt set and say what is in it; unusable rows are named by file, row and value."""
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.inspect import validate_and_report
        from flows.cli.options import read_config

        settings = {"prompts": prompts, "on_bad_row": on_bad_row}
        validate_and_report(read_config(None, settings), terminal)


@app.command(epilog=_EXIT_CODES)
def show(
    dataset: Annotated[str, typer.Argument(help="Folder or s3:// location.")] = "coupled-dataset",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a dataset holds now: its funnel and where its parts are."""
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.inspect import show_and_report

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


for _commands in (
    cli_plan,
    cli_dataset,
    cli_quality,
    cli_export,
    cli_report,
    cli_optimize,
    cli_compare,
):
    _commands.add_commands(app)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
