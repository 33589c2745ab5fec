"""Measure a splitter on the checked groups: `python -m coupled_core.research.splitters`."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from coupled_core.config import SplitConfig
from coupled_core.errors import CoupledError
from coupled_core.records import GroupSplit, PromptGroup, Rejection
from coupled_core.research.evaluation.intervals import Interval, wilson_interval
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.splitting.splitter import Splitter, build_splitter

_FILE = Path(__file__).parent / "checked" / "groups.jsonl"
_ALL = "all"
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@dataclass(frozen=True)
class CheckedGroup:
    """A group and what is known about its split."""

    group: PromptGroup
    kind: str
    """What the group is an example of: "pose", "German", ..."""
    background: tuple[str, ...] | None
    """Words that only the background prompt must name; None: every split is wrong."""
    entities: tuple[tuple[str, ...], ...]
    """Words that only the entity prompt of that index must name."""
    not_background: tuple[str, ...]


class Grade(StrEnum):
    """What a splitter's answer is worth."""

    RIGHT = "right"
    FAILED = "failed"
    """Rejected though there is a split: the group is lost, and says so."""
    WRONG = "wrong"
    """The worst: would become pairs that nobody notices."""


def read_checked_groups() -> list[CheckedGroup]:
    """Return the groups that the package ships, in the order of the file."""
    lines = [line for line in _FILE.read_text(encoding="utf-8").splitlines() if line]
    return list(_parse(lines))


def grade_answer(checked: CheckedGroup, outcome: GroupSplit | Rejection) -> tuple[Grade, str]:
    """Return the grade of an answer, and what is wrong with it; empty where nothing is."""
    if checked.background is None:
        if isinstance(outcome, Rejection):
            return Grade.RIGHT, ""
        return Grade.WRONG, f"split into {outcome.background_prompt!r}, expected no split"
    if isinstance(outcome, Rejection):
        return Grade.FAILED, outcome.message
    problems = list(_find_problems(checked, checked.background, outcome))
    return (Grade.WRONG, problems[0]) if problems else (Grade.RIGHT, "")


def _find_problems(
    checked: CheckedGroup, background: Sequence[str], split: GroupSplit
) -> Iterator[str]:
    found, entity_prompts = split.background_prompt, split.entity_prompts
    if len(entity_prompts) != len(checked.entities):
        yield f"{len(entity_prompts)} entities, expected {len(checked.entities)}"
        return
    foreign = {*checked.not_background, *(word for words in checked.entities for word in words)}
    yield from _compare(f"the background {found!r}", found, background, foreign)
    for words, prompt in zip(checked.entities, entity_prompts, strict=True):
        yield from _compare(f"the entity {prompt!r}", prompt, words, set(background))


def _compare(name: str, text: str, expected: Sequence[str], foreign: set[str]) -> Iterator[str]:
    for word in expected:
        if not _names(text, word):
            yield f"{name} lacks {word!r}"
    for word in sorted(foreign):
        if _names(text, word):
            yield f"{name} names {word!r}"


def _names(text: str, word: str) -> bool:
    if _CJK.search(word):
        return word in text
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.casefold()) is not None


def _parse(lines: Sequence[str]) -> Iterator[CheckedGroup]:
    numbers: Counter[str] = Counter()
    for row_number, line in enumerate(lines):
        row = json.loads(line)
        numbers[row["kind"]] += 1
        name = f"{row['kind']} {numbers[row['kind']]}"
        yield CheckedGroup(
            PromptGroup(name, tuple(row["prompts"]), _FILE.name, row_number),
            row["kind"],
            tuple(row["background"]) if "background" in row else None,
            tuple(tuple(words) for words in row.get("entities", ())),
            tuple(row.get("not_background", ())),
        )


@dataclass(frozen=True)
class SplitterFinding:
    """How one group was split."""

    group_id: str
    kind: str
    grade: Grade
    problem: str


def measure_splitter(splitter: Splitter, groups: Sequence[CheckedGroup]) -> list[SplitterFinding]:
    """Split the groups and grade the answers."""
    outcomes = splitter.split([checked.group for checked in groups])
    return [
        SplitterFinding(checked.group.group_id, checked.kind, *grade_answer(checked, outcome))
        for checked, outcome in zip(groups, outcomes, strict=True)
    ]


def count_by_kind(findings: Sequence[SplitterFinding]) -> dict[str, Counter[Grade]]:
    """Return how often each grade was given, by kind in order of appearance, "all" last."""
    counts: dict[str, Counter[Grade]] = {}
    for finding in findings:
        counts.setdefault(finding.kind, Counter())[finding.grade] += 1
    return counts | {_ALL: Counter(finding.grade for finding in findings)}


def write_table(counts: Mapping[str, Mapping[Grade, int]]) -> str:
    """Return a table with a row a kind: groups, then each grade's share and interval."""
    width = max(map(len, counts))
    lines = ["  ".join([f"{'kind':{width}} groups", *(f"{grade:>18}" for grade in Grade)])]
    for kind, found in counts.items():
        total = sum(found.values())
        cells = [_write_share(wilson_interval(found.get(v, 0), total)) for v in Grade]
        lines.append("  ".join([f"{kind:{width}} {total:6d}", *cells]))
    return "\n".join(lines)


def _write_share(share: Interval) -> str:
    return f"{share.mean:6.1%} [{share.low:3.0%}, {share.high:4.0%}]".rjust(18)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for the offline splitter, and one for the model where it is asked for.

    The model's answers cost money once, under a cap; after that they come from the cache.
    """
    parser = argparse.ArgumentParser("python -m coupled_core.research.splitters")
    parser.add_argument(
        "--splitter",
        choices=("all", "offline", "anthropic"),
        default="offline",
        help="all: offline, then anthropic",
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
            if isinstance(splitter, OfflineSplitter):
                _report_precision(splitter)
    except CoupledError as error:
        raise SystemExit(f"error: {error}") from None


def _open_splitters(options: argparse.Namespace) -> Iterator[Splitter]:
    if options.splitter != "anthropic":
        yield OfflineSplitter()
    if options.splitter == "offline":
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
    from coupled_core.llm.estimate import Tokens
    from coupled_core.llm.spending import cost_usd, price_of
    from coupled_core.splitting.llm.estimate import estimate_split

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
    findings = measure_splitter(splitter, read_checked_groups())
    print(f"{splitter.identity}, 95% intervals")
    print(write_table(count_by_kind(findings)))
    for finding in sorted(findings, key=lambda f: f.grade, reverse=True):
        if lists_problems and finding.grade != Grade.RIGHT:
            print(f"{finding.grade:6} {finding.group_id}: {finding.problem}")


def _report_precision(splitter: Splitter) -> None:
    from coupled_core.research.split_precision import (
        measure_precision,
        read_wild_groups,
        write_precision,
    )

    groups = read_wild_groups()
    print("\nOf prompts in the wild's wording, judged by reading them:")
    print(write_precision(groups, measure_precision(splitter, groups)))


if __name__ == "__main__":
    main()
