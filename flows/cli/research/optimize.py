"""`coupled optimize`: run the flow, then say what came out and how good it is."""

import time
from typing import TYPE_CHECKING, Annotated

from coupled_core.research.optimization.settings import OptimizeSettings
from flows.cli.command import command
from flows.cli.setting import OF_DATASETS, Offer
from flows.cli.temporary_server import flow_session
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # these import torch, which can wait until a server is starting
    from coupled_core.research.evaluation.intervals import Interval
    from coupled_core.research.optimization.judgement import ScheduleScores
    from flows.optimize_schedule import OptimizeSummary

_WITHOUT_EFFECT = ("generation.schedule", "generation.coupling_mode", *OF_DATASETS)
"""Settings of a build that a search does not read."""


@command(
    examples="""
    coupled optimize --prompts train.parquet --budget 60 --num-groups 32 -o schedule.json
    coupled optimize --prompts train.parquet --base-model black-forest-labs/FLUX.1-dev
      --device cuda --family isotonic --coupling-mode log_bias --budget 120 --num-groups 64
      -o flux-dev.json
    """,
)
def optimize(
    terminal: Terminal,
    settings: Annotated[OptimizeSettings, Offer(section="optimize", without=_WITHOUT_EFFECT)],
) -> None:
    """Fit a schedule to prompts: the one with the largest combined metric J that CMA-ES finds.

    Half of the groups are searched on, the others only judge the result. Kill it at any moment and
    run it again: it goes on.
    """
    started_at = time.monotonic()
    kept = f"finished evaluations are kept in {settings.state_folder}"
    with flow_session(terminal, "flows.optimize_schedule", kept):
        summary = _run(settings)
    seconds = time.monotonic() - started_at
    document = {**summary.to_dict(), "wall_seconds": round(seconds, 1)}
    terminal.answer(render(summary, seconds), document)
    if (warning := describe_if_worse(summary)) is not None:
        terminal.complain(warning)


def describe_if_worse(summary: "OptimizeSummary") -> str | None:
    """Return what to say where the found schedule is worse than the one before; else None."""
    against = summary.report.against
    if against is None or against.difference.mean >= 0:
        return None
    is_clear = against.difference.high < 0
    return (
        f"warning: WORSE THAN BEFORE: on the validation prompts the found schedule's J is "
        f"{-against.difference.mean:.3f} lower than that of the schedule before"
        f"{'' if is_clear else ' (by chance, perhaps: the interval holds 0)'}. Nothing uses it: "
        f"builds go on with the one before unless --schedule {summary.schedule} is named"
    )


def render(summary: "OptimizeSummary", wall_seconds: float) -> str:
    """Return a summary as text."""
    report = summary.report
    lines = [
        f"schedule    {summary.schedule}",
        f"found       {summary.family}, after {summary.num_evaluations} evaluations",
        f"picture     {summary.picture}",
        "",
        f"train       {_describe(report.train)}",
        f"validation  {_describe(report.validation)}",
    ]
    if summary.finalists:
        fresh = [_interval(finalist.fresh) for finalist in summary.finalists]
        lines.insert(4, f"finals      J {', '.join(fresh)}  (best first, other noise)")
    if report.against is not None:
        lines += [
            f"before      {_describe(report.against.validation)}",
            f"difference  {_interval(report.against.difference)}  (found minus before, paired)",
        ]
    lines += [
        f"{at.num_inference_steps:>3} steps   {_describe(at.validation)}" for at in report.at_steps
    ]
    return "\n".join([*lines, "", f"wall time   {wall_seconds:.0f} s"])


def _run(settings: OptimizeSettings) -> "OptimizeSummary":
    from flows.optimize_schedule import optimize_schedule

    return optimize_schedule(
        prompts=list(settings.run.prompts.uris), output=settings.output, settings=settings
    )


def _describe(scores: "ScheduleScores") -> str:
    parts = [f"J {_interval(scores.objective)}"]
    if scores.background_similarity is not None and scores.alignment is not None:
        parts.append(f"S {scores.background_similarity:.2f}  T {scores.alignment:.2f}")
    parts.append(f"guarded {scores.guarded_fraction:.0%} of {scores.num_pairs} pairs")
    return "  ".join(parts)


def _interval(interval: "Interval") -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
