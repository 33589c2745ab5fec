"""Measure a splitter on the checked groups: `python -m coupled_core.splitting.measure`."""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coupled_core.config import SplitConfig
from coupled_core.errors import CoupledError
from coupled_core.splitting.checked_groups import (
    CheckedGroup,
    Verdict,
    judge,
    read_checked_groups,
)
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.splitting.splitter import Splitter, build_splitter, choose_splitter

_ALL = "all"
_Z = 1.959964
"""Of a two-sided 95% interval."""


@dataclass(frozen=True)
class Finding:
    """The verdict on one group."""

    group_id: str
    kind: str
    verdict: Verdict
    problem: str


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval, all in [0, 1]."""

    value: float
    low: float
    high: float


def measure(splitter: Splitter, groups: Sequence[CheckedGroup]) -> list[Finding]:
    """Split the groups and judge the answers."""
    outcomes = splitter.split([checked.group for checked in groups])
    return [
        Finding(checked.group.group_id, checked.kind, *judge(checked, outcome))
        for checked, outcome in zip(groups, outcomes, strict=True)
    ]


def count_by_kind(findings: Sequence[Finding]) -> dict[str, Counter[Verdict]]:
    """Return how often each verdict fell, by kind in order of appearance, "all" last."""
    counts: dict[str, Counter[Verdict]] = {}
    for finding in findings:
        counts.setdefault(finding.kind, Counter())[finding.verdict] += 1
    return counts | {_ALL: Counter(finding.verdict for finding in findings)}


def wilson_share(successes: int, count: int) -> Share:
    """Return successes / count with the score interval (Wilson 1927)."""
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"got {successes} of {count}, expected 0 <= successes <= count, count > 0")
    share = successes / count
    centre = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    scale = 1 + _Z**2 / count
    return Share(share, max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0))


def write_table(counts: Mapping[str, Mapping[Verdict, int]]) -> str:
    """Return a table with a row a kind: groups, then each verdict's share and interval."""
    width = max(map(len, counts))
    lines = ["  ".join([f"{'kind':{width}} groups", *(f"{verdict:>18}" for verdict in Verdict)])]
    for kind, found in counts.items():
        total = sum(found.values())
        cells = [_write_share(wilson_share(found.get(v, 0), total)) for v in Verdict]
        lines.append("  ".join([f"{kind:{width}} {total:6d}", *cells]))
    return "\n".join(lines)


def _write_share(share: Share) -> str:
    return f"{share.value:6.1%} [{share.low:3.0%}, {share.high:4.0%}]".rjust(18)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for the offline splitter, and one for the model where its key is set.

    The model's answers cost money once, under a cap; after that they come from the cache.
    """
    parser = argparse.ArgumentParser("python -m coupled_core.splitting.measure")
    parser.add_argument(
        "--splitter",
        choices=("all", "offline", "anthropic"),
        default="all",
        help="all: offline, and anthropic where its key is set",
    )
    parser.add_argument("--problems", action="store_true", help="list what is not right")
    parser.add_argument("--model", default=SplitConfig().model, help="of the Anthropic API")
    parser.add_argument("--transport", choices=("online", "batch"), default="online")
    parser.add_argument("--max-llm-usd", type=float, default=1.0)
    parser.add_argument("--cache", help="where answers are kept; default: in the home folder")
    options = parser.parse_args(arguments)
    try:
        for splitter in _open_splitters(options):
            _report(splitter, lists_problems=options.problems)
    except CoupledError as error:
        raise SystemExit(f"error: {error}") from None


def _open_splitters(options: argparse.Namespace) -> Iterator[Splitter]:
    if options.splitter != "anthropic":
        yield OfflineSplitter()
    has_key = choose_splitter(SplitConfig()) == "anthropic"
    if options.splitter == "offline" or (options.splitter == "all" and not has_key):
        return
    config = SplitConfig(
        splitter="anthropic",
        model=options.model,
        transport=options.transport,
        cache_uri=options.cache,
        max_llm_usd=options.max_llm_usd,
    )
    splitter = build_splitter(config)
    print(describe_price(config), flush=True)
    yield splitter


def describe_price(config: SplitConfig) -> str:
    """Say what the model's answers about the checked groups will cost, those in the cache too."""
    from coupled_core.splitting.llm.estimate import Tokens, estimate_split
    from coupled_core.splitting.llm.prices import cost_usd, price_of

    groups = [checked.group for checked in read_checked_groups()]
    tokens = sum(map(estimate_split, groups), Tokens())
    usd = cost_usd(
        price_of(config),
        input_tokens=round(tokens.input),
        output_tokens=round(tokens.output),
        is_batch=config.transport == "batch",
    )
    return (
        f"{config.model} is asked about {len(groups)} groups, unless the cache has its answers: "
        f"about {tokens.input:,.0f} tokens in, {tokens.output:,.0f} out, {usd:.4f} USD; it stops "
        f"at {config.max_llm_usd:g} USD"
    )


def _report(splitter: Splitter, *, lists_problems: bool) -> None:
    findings = measure(splitter, read_checked_groups())
    print(f"{splitter.identity}, 95% intervals")
    print(write_table(count_by_kind(findings)))
    for finding in sorted(findings, key=lambda f: f.verdict, reverse=True):
        if lists_problems and finding.verdict != Verdict.RIGHT:
            print(f"{finding.verdict:6} {finding.group_id}: {finding.problem}")


if __name__ == "__main__":
    main()
