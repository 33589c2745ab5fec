"""`coupled plan`: what a build would do and cost. Nothing heavy is imported before it runs."""

import inspect
from typing import Annotated, Any

import typer

_EXAMPLES = """[bold]Examples[/]

coupled plan

coupled plan --prompts s3://bucket/set.parquet --output s3://bucket/pairs --json
"""
CountTokens = Annotated[
    int | None,
    typer.Option(
        help="Let the API count the tokens of so many groups, which is free, and scale the "
        "estimate to them. Default: 64 where its key is set; 0: none.",
        rich_help_panel="Run",
        min=0,
        max=1000,
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add `plan` with the options of `build`: by construction no setting of one lacks the other."""
    callbacks = (command.callback for command in app.registered_commands)
    build = next(c for c in callbacks if c is not None and c.__name__ == "build")
    signature = inspect.signature(build)
    counted = inspect.Parameter(
        "count_tokens", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=CountTokens
    )

    def plan(**settings: Any) -> None:
        """Say what `coupled build` would do with the same options, and what it would cost.

        Groups, pairs, shards, how much of it the dataset and the answer cache hold already, tokens
        and price of splitting online and batched, and generation time where it is known. Nothing is
        written and nothing is spent.
        """
        _plan(settings)

    plan.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), counted]
    )
    plan.__annotations__ = {**build.__annotations__, "count_tokens": CountTokens}
    app.command(epilog=_EXAMPLES)(plan)


def _plan(settings: dict[str, Any]) -> None:
    from flows.cli.terminal import Terminal, reported_errors

    options = {name: settings[name] for name in ("as_json", "verbose", "debug")}
    with reported_errors(Terminal(**options)) as terminal:
        from flows.cli.options import read_config
        from flows.cli.plan import plan_and_report

        config = read_config(settings["config"], settings)
        plan_and_report(config, settings["count_tokens"], terminal)
