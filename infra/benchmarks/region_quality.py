"""Prints how well mode `region` encloses the entities, and whether its border shows.

    python -m infra.benchmarks.region_quality [--groups 100] [--fresh SEED] [--picture FILE]

For each image of groups that nothing was fitted on: whether it is its background outside the
region, to the last bit; the share of the entity's mask that lies inside (what lies outside is
cropped); how much brightness jumps from pixel to pixel across the region's border, against the same
places of the background alone; and, against images of the same prompts and noise without coupling:
how much of their entities lies outside the region, how well the masks agree, and how many images
show their entity. Then the scores of the pairs, and how many are unfit by a guard. At last how well
the crop evidence tells pairs in which an entity is cut off.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from coupled_core.config import FilterConfig, GenerationConfig, RunConfig, ScoringConfig
from coupled_core.filtering.decide import explain
from coupled_core.filters import list_filters
from coupled_core.generation.generator import GroupGenerator, load_generator
from coupled_core.records import EntityMask, GeneratedSample, PairScores, Sample
from coupled_core.research.drawn_world.prompt_sets import build_fresh_table
from coupled_core.research.evaluation.intervals import bootstrap_mean, wilson_interval
from coupled_core.research.evaluation.pairs import EntityJudge
from coupled_core.research.evaluation.samples import build_samples, take_groups
from coupled_core.research.methods.method import Method, MethodOutput
from coupled_core.research.methods.registry import load_methods
from coupled_core.research.training.entity_judge import load_entity_judge
from coupled_core.scoring.metrics import equal_fraction
from coupled_core.scoring.pair_scorer import PairScorer, load_scorer
from infra.benchmarks.arguments import build_parser

_WORST_SHOWN = 6
_ENLARGED = 3
_SAME_PLACE = 0.5
"""Share of the smaller of two masks that the other one covers, for an entity to stand where it does
in the stock image: else what lies outside says nothing about a crop."""
_CUT_OFF = 0.15
"""Share of an entity outside the region from which on it counts as cut off."""
_FLAGGED = (0.05, 0.1, 0.2)
"""Shares of the pairs that a bound on the crop evidence would drop."""


@dataclass(frozen=True)
class RegionFit:
    """How well the regions of one group enclose its entities."""

    equal_outside: float
    """Share of the pixels outside the regions that are the background's, to the last bit."""
    equal: float
    """Share of the frame in which the first two images are equal."""
    coverage: tuple[float, ...]
    """Share of each found entity's mask inside its image's region."""
    jumps: float
    """Mean absolute jump of brightness across the borders, 0..255, entities left out."""
    jumps_of_background: float
    region: float
    """Mean share of the frame in a region, soft edge included."""
    stock_outside: tuple[float, ...]
    """Share of each found entity of the stock images outside our image's region."""
    overlap: tuple[float, ...]
    """Intersection over union of its mask and ours."""
    right_more: float
    """Share of our images that show their entity, less that of the stock images."""
    similarity_clear: float
    """Background similarity clear of the masks, mean over the group's pairs."""
    combined: float
    """J, mean over the group's pairs."""
    crop_evidence: tuple[float, ...]
    """Of each image that shows its entity where the stock image does."""
    cut_off: tuple[float, ...]
    """Share of the stock image's entity that lies outside the region, of the same images."""
    unfit: float
    """Share of the group's pairs on which a guard fires."""
    panels: tuple[np.ndarray, ...]
    """Images, background, and the first image with all but the region dimmed."""


@dataclass(frozen=True)
class Judges:
    """What looks at the images, and what ours are held against."""

    scorer: PairScorer
    entities: EntityJudge
    stock: Method


def measure(sample: Sample, generator: GroupGenerator, judges: Judges) -> RegionFit:
    """Return what one group shows."""
    (made,) = generator.generate([sample])
    (plain,) = judges.stock.generate([sample], {})
    assert isinstance(plain, MethodOutput), plain
    assert isinstance(made, GeneratedSample), made
    assert made.background is not None, "expected a schedule of mode region"
    assert made.regions is not None
    inside = [region > 0 for region in made.regions]
    masks, scores = judges.scorer.score(sample, made)
    stock, _ = judges.scorer.score(sample, GeneratedSample(plain.images, plain.seconds, ""))
    found = [
        (one.mask, other.mask, where)
        for one, other, where in zip(masks, stock, inside, strict=True)
        if other.mask.any()
    ]
    right, right_in_stock = (
        np.mean([one is True for one in judges.entities.judge(images, sample.split.entity_prompts)])
        for images in (made.images, plain.images)
    )
    assert made.crop_evidence is not None
    stays = [
        i
        for i, (one, other) in enumerate(zip(masks, stock, strict=True))
        if _share_in_common(one.mask, other.mask) >= _SAME_PLACE
    ]
    entity = np.any([one.mask for one in masks], axis=0)
    both = list(zip(made.images, inside, strict=True))
    dimmed = made.images[0] * np.where(inside[0], 1.0, 0.4)[..., None]
    return RegionFit(
        equal_outside=float(
            np.mean(
                [(image == made.background).all(axis=2)[~where].mean() for image, where in both]
            )
        ),
        equal=equal_fraction(made.images[:2]),
        coverage=tuple(
            where[one.mask].mean()
            for one, where in zip(masks, inside, strict=True)
            if one.mask.any()
        ),
        jumps=float(np.mean([_jump_across(where, image, entity) for image, where in both])),
        jumps_of_background=float(
            np.mean([_jump_across(where, made.background, entity) for where in inside])
        ),
        region=float(np.mean(inside)),
        stock_outside=tuple(float(other[~where].sum() / other.sum()) for _, other, where in found),
        overlap=tuple(float((own & other).sum() / (own | other).sum()) for own, other, _ in found),
        right_more=float(right - right_in_stock),
        similarity_clear=_mean_score(scores, "background_similarity_clear"),
        combined=_mean_score(scores, "combined"),
        crop_evidence=tuple(made.crop_evidence[i] for i in stays),
        cut_off=tuple(float(stock[i].mask[~inside[i]].sum() / stock[i].mask.sum()) for i in stays),
        unfit=float(
            np.mean([_is_unfit(pair, (masks[i], masks[j])) for (i, j), pair in scores.items()])
        ),
        panels=(*made.images, made.background, dimmed.astype(np.uint8)),
    )


def _share_in_common(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, min(a.sum(), b.sum())))


def _mean_score(scores: Mapping[tuple[int, int], PairScores], name: str) -> float:
    return float(np.mean([getattr(pair, name) for pair in scores.values()]))


def _is_unfit(pair: PairScores, masks: tuple[EntityMask, EntityMask]) -> bool:
    guards = {each.reason for each in list_filters() if each.is_guard}
    return any(reason in guards for reason, _ in explain(pair, masks, FilterConfig()))


def _jump_across(inside: np.ndarray, image: np.ndarray, entity: np.ndarray) -> float:
    """Return the mean absolute difference of neighbours on either side of the region's border."""
    brightness = image.astype(np.float64).mean(axis=2)
    jumps = []
    for axis in (0, 1):
        here, there = (np.take(inside, _shifted(inside, axis, by), axis) for by in (0, 1))
        covered = [np.take(entity, _shifted(inside, axis, by), axis) for by in (0, 1)]
        border = (here != there) & ~covered[0] & ~covered[1]
        jumps.append(np.abs(np.diff(brightness, axis=axis))[border])
    found = np.concatenate(jumps)
    return float(found.mean()) if len(found) else 0.0


def _shifted(rows: np.ndarray, axis: int, by: int) -> np.ndarray:
    return np.arange(by, rows.shape[axis] - 1 + by)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = build_parser(__doc__)
    parser.add_argument("--prompts", default="miniature-test", help="prompt set")
    parser.add_argument(
        "--fresh", type=int, metavar="SEED", help="seed of a prompt set made for this run instead"
    )
    parser.add_argument("--groups", type=int, default=100, metavar="N", help="its first groups")
    parser.add_argument(
        "--schedule", metavar="FILE", help="schedule file (default: the shipped one)"
    )
    parser.add_argument(
        "--bound",
        type=float,
        help="of crop evidence; default: those that flag 5, 10 and 20 %% of the pairs",
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="PNG of the groups with the least coverage"
    )
    options = parser.parse_args(arguments)
    generator = load_generator(GenerationConfig(coupling_mode="region", schedule=options.schedule))
    stock = load_methods(["random-seed"], GenerationConfig())["random-seed"]
    entities = load_entity_judge("miniature")
    assert entities is not None
    judges = Judges(load_scorer(ScoringConfig(), "cpu"), entities, stock)
    with tempfile.TemporaryDirectory() as folder:
        prompts = options.prompts
        if options.fresh is not None:
            prompts = str(Path(folder) / "fresh.parquet")
            pq.write_table(build_fresh_table(options.fresh, options.groups), prompts)
        samples = take_groups(build_samples(prompts, RunConfig()), options.groups)
    found = {one.group.group_id: measure(one, generator, judges) for one in samples}
    _print(found)
    _print_crop_guard(found, options.bound)
    if options.picture:
        _draw(
            sorted(found.values(), key=lambda one: min(one.coverage, default=1.0)), options.picture
        )


def _print(found: dict[str, RegionFit]) -> None:
    seen = {name: one for name, one in found.items() if one.coverage}
    rows: dict[str, Mapping[str, Sequence[float]]] = {
        "equal to the background outside": {n: [one.equal_outside] for n, one in found.items()},
        "frame equal between two images": {n: [one.equal] for n, one in found.items()},
        "region's share of the frame": {n: [one.region] for n, one in found.items()},
        "mask inside the region": {n: one.coverage for n, one in seen.items()},
        "entities with more than 5 % outside": {
            n: [float(share < 0.95) for share in one.coverage] for n, one in seen.items()
        },
        "stock entity outside": {n: one.stock_outside for n, one in found.items() if one.overlap},
        "overlap of masks with stock": {n: one.overlap for n, one in found.items() if one.overlap},
        "images right, less stock": {n: [one.right_more] for n, one in found.items()},
        "S clear of the masks": {n: [one.similarity_clear] for n, one in found.items()},
        "J": {n: [one.combined] for n, one in found.items()},
        "pairs unfit": {n: [one.unfit] for n, one in found.items()},
        "jump across the border, 0..255": {n: [one.jumps] for n, one in found.items()},
        "... in the background alone": {n: [one.jumps_of_background] for n, one in found.items()},
    }
    for name, values in rows.items():
        mean = bootstrap_mean(values)
        print(f"{name:38} {mean.mean:6.3f} [{mean.low:.3f}, {mean.high:.3f}]  n={len(values)}")


def _print_crop_guard(found: dict[str, RegionFit], bound: float | None) -> None:
    """Print how well a bound on the crop evidence tells groups in which an entity is cut off."""
    seen = [one for one in found.values() if one.crop_evidence]
    evidence = np.array([max(one.crop_evidence) for one in seen])
    is_cut = np.array([max(one.cut_off) > _CUT_OFF for one in seen])
    area = _area_under_curve(evidence, is_cut)
    print(f"pairs with an entity cut off: {is_cut.sum()} of {len(seen)}; area {area:.3f}")
    bounds = np.quantile(evidence, [1 - share for share in _FLAGGED]) if bound is None else [bound]
    for each in bounds:
        flagged = evidence > each
        precision = wilson_interval(int((flagged & is_cut).sum()), max(1, int(flagged.sum())))
        recall = wilson_interval(int((flagged & is_cut).sum()), max(1, int(is_cut.sum())))
        print(
            f"max_crop_evidence {each:.3f}: flags {flagged.mean():.0%}; precision "
            f"{precision.mean:.2f} [{precision.low:.2f}, {precision.high:.2f}], recall "
            f"{recall.mean:.2f} [{recall.low:.2f}, {recall.high:.2f}]"
        )


def _area_under_curve(values: np.ndarray, is_positive: np.ndarray) -> float:
    """Return how often a positive has the larger value; ties count half; NaN without both kinds."""
    difference = values[is_positive][:, None] - values[~is_positive]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean()) if difference.size else np.nan


def _draw(worst_first: Sequence[RegionFit], path: Path) -> None:
    rows = [np.concatenate(one.panels, axis=1) for one in worst_first[:_WORST_SHOWN]]
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    size = (sheet.width * _ENLARGED, sheet.height * _ENLARGED)
    sheet.resize(size, Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
