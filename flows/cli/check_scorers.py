"""`coupled check-scorers`: how far Segment Anything and CLIP are off, in a table."""

from dataclasses import asdict

from coupled_core.config import RunConfig
from coupled_core.generation.provenance import choose_device
from coupled_core.research.evaluation.scorer_error import measure_scorers
from flows.cli.terminal import Terminal


def check_scorers_and_report(
    config: RunConfig, terminal: Terminal, *, num_renders: int, seed: int
) -> None:
    """Measure the scorers of a config and print the figures.

    Args:
        config: names the scorers and the device.
        terminal: where to say it.
        num_renders: scenes to draw.
        seed: of the scenes.

    Raises:
        ModelUnavailableError: one of them cannot be loaded.
    """
    scoring, device = config.scoring, str(choose_device(config.generation.device))
    figures = measure_scorers(scoring, num_renders, seed, device)
    terminal.say(f"Segment Anything {scoring.sam_model}, CLIP {scoring.clip_model}\n")
    for figure in figures:
        interval = f"[{figure.low:.3f}, {figure.high:.3f}]  n = {figure.count}"
        terminal.say(f"{figure.name:54} {figure.value:7.3f}  {interval}")
    values = [{k: v for k, v in asdict(figure).items() if k != "goal"} for figure in figures]
    terminal.print_json({"scoring": scoring.model_dump(mode="json"), "figures": values})
