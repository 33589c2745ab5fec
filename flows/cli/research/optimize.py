"""`coupled optimize`: run the flow, then say what came out and how good it is."""

import time
from typing import TYPE_CHECKING, Annotated

from coupled_core.research.evaluation.power import (
    count_groups_to_detect,
    detectable_by,
    detectable_difference,
)
from coupled_core.research.optimization.settings import OptimizeSettings
from flows.cli.command import command
from flows.cli.setting import OF_DATASETS, Offer
from flows.cli.temporary_server import flow_session
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # these import torch, which can wait until a server is starting
    from coupled_core.research.evaluation.intervals import Interval
    from coupled_core.research.optimization.judgement import ScheduleComparison, ScheduleScores
    from flows.optimize_schedule import OptimizeSummary

_WITHOUT_EFFECT = ("generation.schedule", "generation.coupling_mode", *OF_DATASETS)
"""Settings of a build that a search does not read."""
_WORTH_FINDING = 0.05
"""The difference of J for which the statement of power says how many groups it takes."""


@command(
    examples="""
    coupled optimize --prompts train.parquet --budget 60 --num-groups 32 -o schedule.json
    coupled optimize --profile flux-dev --device cuda --prompts train.parquet --family isotonic
      --coupling-mode log_bias --budget 120 --num-groups 64 -o flux-dev.json
    """,
)
def optimize(
    terminal: Terminal,
    settings: Annotated[OptimizeSettings, Offer(section="optimize", without=_WITHOUT_EFFECT)],
) -> None:
    """Fit a schedule to prompts: the one with the largest combined metric J that CMA-ES finds.

    Half of the groups are searched on, the others only judge the result. How small a difference so
    many can find is said first. Kill it at any moment and run it again: it goes on.
    """
    started_at = time.monotonic()
    kept = f"finished evaluations are kept in {settings.state_folder}"
    with flow_session(terminal, "flows.optimize_schedule", kept):
        summary = _run(settings, terminal)
    seconds = time.monotonic() - started_at
    document = {**summary.to_dict(), "wall_seconds": round(seconds, 1)}
    terminal.answer(render(summary, seconds), document)
    if (warning := describe_unless_better(summary)) is not None:
        terminal.complain(warning)


def describe_power(num_groups: int) -> str:
    """Return how small a difference the validation groups of a search can find."""
    needed = count_groups_to_detect(_WORTH_FINDING)
    return (
        f"power: {num_groups} validation groups find a difference of J of "
        f"{detectable_difference(num_groups):.3f} with 80 % probability, smaller ones less often; "
        f"{_WORTH_FINDING} would take {needed}, so --num-groups {2 * needed}. Where entities are "
        "lost it takes more"
    )


def describe_unless_better(summary: "OptimizeSummary") -> str | None:
    """Return what to say where the found schedule is not clearly better than the one before."""
    against = summary.report.against
    if against is None or against.difference.low > 0:
        return None
    if against.difference.mean >= 0:
        return _describe_level(summary, against)
    is_clear = against.difference.high < 0
    return (
        f"warning: WORSE THAN BEFORE: on the validation prompts the found schedule's J is "
        f"{-against.difference.mean:.3f} lower than that of the schedule before"
        f"{'' if is_clear else ' (by chance, perhaps: the interval holds 0)'}. Nothing uses it: "
        f"builds go on with the one before unless --schedule {summary.schedule} is named"
    )


def _describe_level(summary: "OptimizeSummary", against: "ScheduleComparison") -> str:
    if against.schedule_id == summary.schedule_id:
        return "NOTHING BETTER WAS FOUND: the best candidate is the schedule before"
    return (
        "NOTHING BETTER WAS FOUND: on the validation prompts J of the found schedule and of the "
        f"one before differ by {_interval(against.difference)}; a difference of "
        f"{detectable_by(against.difference):.3f} would have been found with 80 % probability. "
        f"Builds go on with the one before unless --schedule {summary.schedule} is named"
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


def _run(settings: OptimizeSettings, terminal: Terminal) -> "OptimizeSummary":
    from coupled_core.research.optimization.trial import choose_samples
    from flows.optimize_schedule import optimize_schedule

    _, validation = choose_samples(settings)
    terminal.note(describe_power(len({sample.group.group_id for sample in validation})))
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
