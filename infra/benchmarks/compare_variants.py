"""Holds variants of ours against another one, on pairs that nothing was fitted on.

    python -m infra.benchmarks.compare_variants --variant "single-stream blocks, in log_bias: weigh
        logits" --against "mode: log_bias" --fresh 961000 --groups 200 --keep FILE
    python -m infra.benchmarks.compare_variants --variant "region *" --against "mode: region"
        --fresh 997000 --groups 48 --keep FILE

Names are those of `coupled compare --ablations`, and may be patterns. A group is kept as soon as
all are scored, so a run that was ended goes on where it stopped; `--minutes` ends it by itself.
Prints a Markdown table.
"""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from coupled_core.config import GenerationConfig, RunConfig
from coupled_core.generation.provenance import resolve
from coupled_core.records import Sample
from coupled_core.research.comparison.run import ComparisonRun
from coupled_core.research.comparison.settings import OURS, CompareSettings
from coupled_core.research.comparison.variants import build_variant, list_variants
from coupled_core.research.drawn_world.prompt_sets import build_fresh_table
from coupled_core.research.evaluation.intervals import bootstrap_difference, bootstrap_mean
from coupled_core.research.evaluation.pairs import Evaluator
from coupled_core.research.evaluation.samples import build_samples, take_groups
from coupled_core.research.methods.method import Method
from infra.benchmarks.arguments import build_parser

_FRESH_GROUPS = 216
_MEASURES = {
    "combined J": 3,
    "S": 3,
    "S clear of the masks": 3,
    "T": 2,
    "images right": 3,
    "evaluations": 1,
}
"""By name, how many decimals are shown."""


def measure(method: Method, evaluator: Evaluator, sample: Sample) -> dict[str, float]:
    """Return what the first pair of a sample scores."""
    pair = evaluator.evaluate(method, {}, [sample])[0]
    assert pair.scores is not None, "expected images"
    return {
        "combined J": pair.scores.combined,
        "S": pair.scores.background_similarity,
        "S clear of the masks": pair.scores.background_similarity_clear,
        "T": pair.scores.alignment,
        "images right": pair.right_fraction if pair.right_fraction is not None else 0.0,
        "evaluations": pair.model_evaluations,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not kept yet, then print means and paired differences."""
    parser = build_parser(__doc__)
    parser.add_argument(
        "--variant",
        required=True,
        action="append",
        metavar="NAME",
        help="name or pattern of variants; may be repeated",
    )
    parser.add_argument(
        "--against", required=True, metavar="NAME", help="variant they are compared with"
    )
    parser.add_argument(
        "--fresh", type=int, required=True, metavar="SEED", help="seed of the prompt set"
    )
    parser.add_argument("--groups", type=int, default=200, metavar="N", help="groups of that set")
    parser.add_argument(
        "--keep",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON lines of what was measured; goes on from there",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=float("inf"),
        metavar="N",
        help="end after so many (default: when all is done)",
    )
    options = parser.parse_args(arguments)
    ends_at = time.monotonic() + 60 * options.minutes
    run = ComparisonRun(CompareSettings(methods=(OURS,)))
    resolved = resolve(GenerationConfig())
    variants = {each.name: each for each in list_variants(resolved.schedule, resolved.files.known)}
    against = choose_names(list(variants), [options.against])[0]
    names = [against, *choose_names(list(variants), options.variant)]
    asked = [*names, options.fresh]
    kept = read_kept(options.keep, asked)
    methods = [build_variant(run.methods[OURS], variants[name]) for name in names]
    for sample in _draw_samples(options.fresh, options.groups):
        if sample.group.group_id in kept or time.monotonic() > ends_at:
            continue
        found = [measure(each, run.evaluator, sample) for each in methods]
        kept[sample.group.group_id] = found
        with options.keep.open("a") as file:
            file.write(json.dumps([asked, sample.group.group_id, found]) + "\n")
    print(render_table(names, list(kept.values())))


def choose_names(known: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the known names that are asked for, in their order; refuse a pattern without any."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise SystemExit(f"no variant is called {pattern!r}: expected some of {list(known)}")
    return [name for name in known if any(fnmatchcase(name, each) for each in patterns)]


def render_table(names: Sequence[str], found: Sequence[Sequence[Mapping[str, float]]]) -> str:
    """Return a row a variant: means of the first, then paired differences to it.

    Args:
        names: of the variants.
        found: for each group what `measure` returned of each variant.
    """
    lines = [
        f"| n = {len(found)} | {' | '.join(_MEASURES)} |",
        f"| --- |{' ---: |' * len(_MEASURES)}",
    ]
    for i, name in enumerate(names):
        cells = []
        for measure_name, digits in _MEASURES.items():
            own, first = (
                {str(g): [one[k][measure_name]] for g, one in enumerate(found)} for k in (i, 0)
            )
            shown = bootstrap_difference(own, first) if i else bootstrap_mean(own)
            form = f"{'+' if i else ''}.{digits}f"
            text = f"{shown.mean:{form}} [{shown.low:{form}}, {shown.high:{form}}]"
            cells.append(f"**{text}**" if i and shown.low * shown.high > 0 else text)
        lines.append(f"| {name if i else f'**{name}**'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _draw_samples(seed: int, num_groups: int) -> list[Sample]:
    with tempfile.TemporaryDirectory() as folder:
        prompts = str(Path(folder) / "fresh.parquet")
        pq.write_table(build_fresh_table(seed, _FRESH_GROUPS), prompts)
        return take_groups(build_samples(prompts, RunConfig()), num_groups)


def read_kept(path: Path, asked: Sequence[object]) -> dict[str, Any]:
    """Return what a file holds by group; refuse one of other variants or of another prompt set."""
    kept = {}
    for line in path.open() if path.exists() else ():
        measured, *rest = json.loads(line)
        if measured != asked:
            raise SystemExit(f"{path} holds {measured}, expected {asked}: name another file")
        kept.update([rest])
    return kept


if __name__ == "__main__":
    main()
