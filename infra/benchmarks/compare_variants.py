"""Holds one variant of ours against another, on pairs that nothing was fitted on.

    python -m infra.benchmarks.compare_variants --variant "single-stream blocks, in log_bias: weigh
        logits" --against "mode: log_bias" --fresh 961000 --groups 200 --keep FILE

Names are those of `coupled compare --ablations`. A group is kept as soon as both are scored, so a
run that was ended goes on where it stopped; `--minutes` ends it by itself.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
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
from coupled_core.research.evaluation.pairs import Evaluator, mean_objective
from coupled_core.research.evaluation.samples import build_samples, take_groups
from coupled_core.research.methods.method import Method

_FRESH_GROUPS = 216
_MEASURES = ("combined J", "guarded J", "S", "T", "images right", "seconds")


def measure(method: Method, evaluator: Evaluator, sample: Sample) -> dict[str, float]:
    """Return what the first pair of a sample scores."""
    pair = evaluator.evaluate(method, {}, [sample])[0]
    assert pair.scores is not None, "expected images"
    return {
        "combined J": pair.scores.combined,
        "guarded J": mean_objective([pair]),
        "S": pair.scores.background_similarity,
        "T": pair.scores.alignment,
        "images right": pair.right_fraction if pair.right_fraction is not None else 0.0,
        "seconds": pair.seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not kept yet, then print means and paired differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--against", required=True)
    parser.add_argument("--fresh", type=int, required=True, help="seed of the prompt set")
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--keep", type=Path, required=True, help="what was measured, JSON lines")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args(arguments)
    names, ends_at = (options.against, options.variant), time.monotonic() + 60 * options.minutes
    asked = [*names, options.fresh]
    kept = read_kept(options.keep, asked)
    run = ComparisonRun(CompareSettings(methods=(OURS,)))
    resolved = resolve(GenerationConfig())
    variants = {each.name: each for each in list_variants(resolved.schedule, resolved.files.known)}
    methods = [build_variant(run.methods[OURS], variants[name]) for name in names]
    for sample in _draw_samples(options.fresh, options.groups):
        if sample.group.group_id in kept or time.monotonic() > ends_at:
            continue
        found = [measure(each, run.evaluator, sample) for each in methods]
        kept[sample.group.group_id] = found
        with options.keep.open("a") as file:
            file.write(json.dumps([asked, sample.group.group_id, found]) + "\n")
    print(f"{options.variant} (second) against {options.against} (first), n = {len(kept)}")
    for name in _MEASURES:
        first, second = ({g: [found[i][name]] for g, found in kept.items()} for i in (0, 1))
        means = (bootstrap_mean(first), bootstrap_mean(second), bootstrap_difference(second, first))
        print(f"{name:14}", *(f"{m.mean:+8.3f} [{m.low:+.3f}, {m.high:+.3f}]" for m in means))


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
