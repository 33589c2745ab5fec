"""How the models of a run read its prompts: what is cut, what is unknown, what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TextCount:
    """How much one tokenizer makes of prompts."""

    reader: str
    limit: int
    """Tokens that its model reads at once, begin and end marks included."""
    in_windows: bool
    """What does not fit is read in further windows; otherwise it is cut off."""
    num_prompts: int
    num_longer: int
    """Prompts that do not fit."""
    longest: int
    """Tokens of the longest prompt, marks included."""
    num_tokens: int
    """Tokens of all prompts, without marks and blanks."""
    num_unknown: int
    """Those among them that the vocabulary lacks."""


@dataclass(frozen=True)
class TextReport:
    """How the prompts of groups that are still to be made will be read."""

    num_groups: int = 0
    num_groups_counted: int = 0
    """As many as there are, or a random sample of them."""
    counts: tuple[TextCount, ...] = ()
    """What each tokenizer makes of the groups that were counted."""
    num_refused: Mapping[str, int] = field(default_factory=dict)
    """Groups that will be refused, by reason."""


NO_TEXTS = TextReport()
"""Nothing is to be read any more."""


def describe_readers(report: TextReport) -> list[str]:
    """Return a line a tokenizer, for people."""
    part = ""
    if report.num_groups_counted < report.num_groups:
        part = f" (of a sample of {report.num_groups_counted:,} groups)"
    return [f"{_describe(count)}{part}" for count in report.counts]


def describe_losses(report: TextReport) -> str:
    """Return in a line what of the prompts is not read, or read otherwise; empty: nothing."""
    lossy = [count for count in report.counts if count.num_longer or count.num_unknown]
    found = [_describe(count) for count in lossy]
    if found and report.num_groups_counted < report.num_groups:
        found[-1] += f" (in a sample of {report.num_groups_counted:,} groups)"
    if refused := describe_refused(report):
        found.append(refused)
    return "; ".join(found)


def describe_refused(report: TextReport) -> str:
    """Return how many groups will be refused, and why; empty: none."""
    reasons = ", ".join(f"{reason} {num:,}" for reason, num in report.num_refused.items())
    num_refused = sum(report.num_refused.values())
    groups = "group" if num_refused == 1 else "groups"
    return f"{num_refused:,} {groups} will be refused: {reasons}" if num_refused else ""


def _describe(count: TextCount) -> str:
    longer, unknown = "no prompt has more", ""
    if count.num_longer:
        share = _share(count.num_longer, count.num_prompts)
        fate = "have more, read in windows" if count.in_windows else "are cut"
        longer = f"{count.num_longer:,} of {count.num_prompts:,} prompts ({share}) {fate}"
    if count.num_unknown:
        unknown = f", {_share(count.num_unknown, count.num_tokens)} of tokens are unknown"
    words = f"{count.reader} reads {count.limit} tokens: {longer}"
    return f"{words}, the longest has {count.longest}{unknown}"


def _share(part: int, whole: int) -> str:
    # Below 0.05 % one decimal would show 0.0 %.
    return f"{part / whole:.1%}" if part / whole >= 0.0005 else f"{part / whole:.1g}"
