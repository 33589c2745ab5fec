"""`coupled compare` and `check-scorers`: methods against each other, and how far judges are off."""

import time
from dataclasses import asdict
from typing import Annotated

from coupled_core.config import RunConfig
from coupled_core.research.comparison.settings import CompareSettings
from flows.cli.command import command, option
from flows.cli.setting import OF_DATASETS, Offer
from flows.cli.temporary_server import flow_session
from flows.cli.terminal import Terminal


@command(
    examples="""
    coupled compare --trade-off --ablations
    coupled compare --prompts test.parquet --train-prompts train.parquet
      --methods coupled,prompt-switch,p2p --num-groups 100 --device cuda
      --profile flux-dev --output flux-dev
    coupled compare --redraw --output flux-dev
    """,
)
def compare(
    terminal: Terminal,
    settings: Annotated[CompareSettings, Offer(section="compare", without=OF_DATASETS)],
    redraw: Annotated[
        bool, option("Only draw the results in --output again: no model is loaded.", "--redraw")
    ] = False,
) -> None:
    """Compare the coupled method with baselines: same noise, prompts, steps and scorers.

    Every method's knobs are first found on other prompts, by one search with one budget. Default
    prompts: the package's test set of 216 pairs. Kill it at any moment and run it again: it goes
    on.
    """
    from coupled_core.research.comparison import report
    from coupled_core.research.comparison.results import read_results

    started_at = time.monotonic()
    files = report.write_report(settings.folder) if redraw else _run(settings, terminal)
    facts = report.read_facts(settings.folder)
    results = read_results(settings.folder / report.RESULTS)
    seconds = time.monotonic() - started_at
    lines = [report.render_report(results, facts)]
    lines += [f"{kind:<11} {path}" for kind, path in files.items()]
    document = {
        "files": files,
        "methods": report.to_plain(report.summarise_comparison(results)),
        "tuned": facts["tuned"],
        "command": facts["command"],
        "wall_seconds": round(seconds, 1),
    }
    terminal.answer("\n".join([*lines, f"wall time   {seconds:.0f} s"]), document)


@command(
    examples="""
    coupled check-scorers
    coupled check-scorers --sam-model vit_b:sam_vit_b_01ec64.pth --clip-model ViT-B-32:openai --json
    """,
)
def check_scorers(
    terminal: Terminal,
    config: Annotated[RunConfig, Offer(only=("scoring", "generation.device"))],
    num_renders: Annotated[int, option("Scenes, drawn at random, to measure on.", min=16)] = 400,
    scene_seed: Annotated[int, option("Seed of the scenes.")] = 0,
) -> None:
    """Measure the scorers' own error on drawn scenes, of which entity, mask and place are known."""
    from coupled_core.generation.provenance import choose_device
    from coupled_core.research.evaluation.scorer_error import measure_scorers

    scoring, device = config.scoring, choose_device(config.generation.device)
    figures = measure_scorers(scoring, num_renders, scene_seed, device)
    lines = [f"Segment Anything {scoring.sam_model}, CLIP {scoring.clip_model}", ""]
    for figure in figures:
        interval = f"[{figure.low:.3f}, {figure.high:.3f}]  n = {figure.count}"
        lines.append(f"{figure.name:54} {figure.value:7.3f}  {interval}")
    values = [{k: v for k, v in asdict(figure).items() if k != "goal"} for figure in figures]
    document = {"scoring": scoring.model_dump(mode="json"), "figures": values}
    terminal.answer("\n".join(lines), document)


def _run(settings: CompareSettings, terminal: Terminal) -> dict[str, str]:
    kept = f"finished sweeps and chunks are kept under {settings.output}"
    with flow_session(terminal, "flows.compare_methods", kept):
        from flows.compare_methods import compare_methods

        return compare_methods(
            prompts=list(settings.run.prompts.uris), output=settings.output, settings=settings
        )
