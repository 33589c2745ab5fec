"""How well scores rank pairs: area under the curve against what no mask has a say in.

    python -m coupled_core.research.comparison.ranking comparison/results.parquet [--method coupled]

A pair is good where both images show their entity, by the judge apart from the scorers, and most of
their pixels are nearly the same. It takes the results of a comparison that kept the images of all
its pairs (`--num-picture-rows`). A decision is a ranking into kept and dropped.
"""

import argparse
import io
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import rankdata

from coupled_core.filters import MIN_COMBINED
from coupled_core.research.comparison.results import read_results
from coupled_core.research.evaluation.intervals import LEVEL

_SAME_SHARE = 70
"""Percent of the pixels that must be nearly the same: entities take up to 30."""
_SAME_LEVELS = 8
_BOUNDS = (None, -2.0, -1.0, -0.5)
_NUM_RESAMPLES = 500

Row = Mapping[str, Any]


def area_under_curve(values: np.ndarray, is_good: np.ndarray) -> float:
    """Return how often a good pair ranks above another, ties counting half; NaN without both."""
    good = int(is_good.sum())
    bad = len(is_good) - good
    if not good or not bad:
        return float("nan")
    ranks = rankdata(values)[is_good].sum()
    return float((ranks - good * (good + 1) / 2) / (good * bad))


def is_good(row: Row) -> bool:
    """Say whether a pair of results shows both entities before one background."""
    if row["right_fraction"] != 1.0 or row["image_0"] is None:
        return False
    first, second = (
        np.asarray(Image.open(io.BytesIO(row[f"image_{side}"])).convert("RGB"), dtype=np.int16)
        for side in (0, 1)
    )
    change = np.abs(first - second).max(axis=2)
    return bool(np.percentile(change, _SAME_SHARE) <= _SAME_LEVELS)


def decide(row: Row, min_similarity: float | None) -> float:
    """Return 1 where the miniature's default decision keeps a pair, else 0.

    Args:
        row: of the results.
        min_similarity: bound on S clear of the masks; None: none.
    """
    least = MIN_COMBINED.miniature_default
    assert least is not None
    kept = not row["guards"] and _finite(row["combined"]) >= least
    if min_similarity is not None:
        kept = kept and _finite(row["background_similarity_clear"]) >= min_similarity
    return float(kept)


def rank_rows(rows: Sequence[Row]) -> list[str]:
    """Return a line a ranking: its area with a 95 % interval over groups, precision, recall."""
    good = np.array([is_good(row) for row in rows])
    rankings = {
        "default decision" + (f", S clear of the masks >= {bound}" if bound else ""): [
            decide(row, bound) for row in rows
        ]
        for bound in _BOUNDS
    }
    for name in ("combined", "background_similarity_clear"):
        rankings[name] = [_finite(row[name]) for row in rows]
    groups = _index_groups(rows)
    lines = [f"{len(rows)} pairs of {len(groups)} groups, {good.mean():.3f} of them good"]
    for name, numbers in rankings.items():
        values = np.array(numbers)
        low, high = _resample(values, good, groups)
        line = f"{name:46} {area_under_curve(values, good):.3f} [{low:.3f}, {high:.3f}]"
        if set(numbers) <= {0.0, 1.0} and values.any() and good.any():
            kept = values == 1.0
            line += f"  precision {good[kept].mean():.2f}, recall {kept[good].mean():.2f}"
        lines.append(line)
    return lines


def _index_groups(rows: Sequence[Row]) -> list[np.ndarray]:
    names = np.array([row["group_id"] for row in rows])
    return [np.flatnonzero(names == name) for name in sorted(set(names))]


def _resample(
    values: np.ndarray, good: np.ndarray, groups: Sequence[np.ndarray]
) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(_NUM_RESAMPLES):
        drawn = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        areas.append(area_under_curve(values[drawn], good[drawn]))
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.nanpercentile(areas, [tail, 100.0 - tail])
    return float(low), float(high)


def _finite(value: float | None) -> float:
    """Return a score as it ranks; what has none comes last."""
    return value if value is not None and isfinite(value) else -1e9


def main(arguments: Sequence[str] | None = None) -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("results", type=Path, help="results.parquet of a comparison")
    parser.add_argument("--method", help="rank the pairs of one method alone")
    options = parser.parse_args(arguments)
    rows = [row for row in read_results(options.results).to_pylist() if row["part"] == "comparison"]
    if options.method:
        rows = [row for row in rows if row["method"] == options.method]
    if not rows or any(row["combined"] is not None and row["image_0"] is None for row in rows):
        parser.error(
            f"{options.results}: expected pairs whose images were kept; compare again with "
            "--num-picture-rows as large as --num-groups, or name another --method"
        )
    print(*rank_rows(rows), sep="\n")


if __name__ == "__main__":
    main()
