"""The table of filters: what each compares, its setting, its reject reason, its words for people.

A filter is a bound on numbers that were measured of a pair. The settings, the command line,
decisions, re-cuts, `coupled verify`, the report and the README are made from this table, so an
entry here is all that a new filter takes. Other packages add theirs by an entry point of the group
`coupled_images.filters` that names a `Filter`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isfinite, nan
from types import MappingProxyType
from typing import Any, Literal

from coupled_core.errors import ConfigError
from coupled_core.plugins import find_plugins, list_plugin_names
from coupled_core.records import (
    METRIC_NAMES,
    REQUIRED_METRICS,
    EntityMask,
    PairScores,
    RejectReason,
)

NUMBERS = (
    *METRIC_NAMES,
    "mask_0_area_fraction",
    "mask_1_area_fraction",
    "mask_0_predicted_iou",
    "mask_1_predicted_iou",
)
"""Columns of the manifest that a filter can look at: every number that is measured of a pair.

Scores that other packages registered come on top; they share the column `extra_scores`.
"""

Objection = tuple[str, str]
"""A reject reason, and a sentence with the number and the bound."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A bound on one number of a pair, or on several of which each must be on the right side."""

    reason: str
    """Machine word in the manifest's `reject_reasons`."""
    words: str
    """What the reason means, as a sentence for people."""
    setting: str
    """Field of `config.FilterConfig` that holds the bound; with hyphens, a command-line option."""
    default: float
    """Where the bound stands unless the settings say otherwise."""
    miniature_default: float | None = None
    """Where it stands with the miniature's CLIP, which was trained on the miniature's world alone:
    its cosines are far above those of CLIP models trained on photographs, 0.9 for the right caption
    and 0.45 where the entity is another or missing. With such a second default the setting is None
    until it is known which CLIP judges."""
    limits: Mapping[Literal["gt", "ge", "lt", "le"], float] = field(default_factory=dict)
    """Where the bound may stand, in pydantic's words; empty: at any finite number."""
    columns: tuple[str, ...]
    """Which of `NUMBERS`, or of the scores that other packages registered, are compared."""
    is_minimum: bool
    """True: the numbers must be at least the bound. False: at most."""
    title: str
    """Heading in the report."""
    measure: str
    """What is compared, with its unit, to stand after "least" or "largest" and at an axis."""
    note: str = ""
    """Anything else to know before setting the bound, as a sentence."""
    is_logarithmic: bool = False
    """The numbers span orders of magnitude."""
    zero_fails: bool = False
    """A 0 means that nothing was found to measure: it passes no bound, not even 0."""
    finite_columns: tuple[str, ...] = ()
    """Numbers that must be finite, whatever the bound."""
    is_guard: bool = False
    """It keeps the combined score from being gamed: where methods are compared, a pair that it
    drops counts as the worst."""
    recut_takes_back: bool = True
    """A re-cut withdraws the reason where a pair passes. False: a re-cut only ever adds it."""

    def __post_init__(self) -> None:
        known = (*NUMBERS, *list_plugin_names("scores"))
        unknown = {*self.columns, *self.finite_columns}.difference(known)
        if unknown or not self.columns:
            raise ConfigError(
                f"filter {self.reason}: expected columns among {', '.join(known)}; "
                f"got {', '.join(sorted(unknown)) or 'none'}"
            )
        if not isfinite(self.default):
            raise ConfigError(
                f"filter {self.reason}: expected a finite default; got {self.default}"
            )

    @property
    def description(self) -> str:
        """What the setting means, for help texts."""
        text = f"{'Least' if self.is_minimum else 'Largest'} {self.measure}."
        text = f"{text} {self.note}" if self.note else text
        return text if self.miniature_default is None else f"{text} Default: {self.default:g}."

    def passes(self, number: Any, bound: float) -> Any:
        """Say whether a number is on the right side of a bound; of an array, which are.

        NaN never is: every comparison with it is false.
        """
        is_right = number >= bound if self.is_minimum else number <= bound
        # `&` and not `and`, which arrays do not take.
        return is_right & (number != 0.0) if self.zero_fails else is_right

    def can_judge(self, numbers: Mapping[str, Any]) -> bool:
        """Say whether a row was measured as it takes; rows from before a later score were not."""
        # The first filters judge every scored row: their numbers were measured from the start, and
        # a null there is a fault.
        return self in _FIRST or all(_is_measured(numbers, name) for name in self.columns)

    def find_objections(self, numbers: Mapping[str, Any], bound: float) -> list[str]:
        """Return a sentence for each number of a pair that fails; null fails like NaN."""
        odd = [name for name in self.finite_columns if not isfinite(_read(numbers, name))]
        if odd:
            return [f"not finite, so {self.setting} cannot be met: {', '.join(odd)}"]
        side = "below" if self.is_minimum else "above"
        return [
            f"{name} {_read(numbers, name):#.4g} is {side} {self.setting} {bound:g}"
            for name in self.columns
            if not self.passes(_read(numbers, name), bound)
        ]


def _is_measured(numbers: Mapping[str, Any], name: str) -> bool:
    """Say whether a row has a number at all; scores that are not finite are null in JSON alone."""
    if name in NUMBERS:
        return numbers.get(name) is not None
    return name in read_extra_scores(numbers.get("extra_scores"))


def _read(numbers: Mapping[str, Any], name: str) -> float:
    known = numbers if name in NUMBERS else read_extra_scores(numbers.get("extra_scores"))
    number = known.get(name)
    return nan if number is None else number


def write_extra_scores(scores: Mapping[str, float]) -> str | None:
    """Return scores as a JSON object, null for what is not finite; None: there are none."""
    # JSON has no NaN: Python would write one that other readers refuse.
    finite = {name: value if isfinite(value) else None for name, value in scores.items()}
    return json.dumps(finite, sort_keys=True) if finite else None


def read_extra_scores(text: str | None) -> dict[str, float | None]:
    """Return what `write_extra_scores` wrote."""
    scores: dict[str, float | None] = json.loads(text) if text else {}
    return scores


MIN_COMBINED = Filter(
    reason="below_min_combined",
    words="The combined score is below the threshold.",
    setting="min_combined",
    default=1.0,
    miniature_default=4.4,
    columns=("combined",),
    finite_columns=REQUIRED_METRICS,
    is_minimum=True,
    title="Least combined score",
    measure="combined score J",
    note="J scales with the CLIP model's cosines; with the miniature's the default is 4.4.",
)
EMPTY_MASK = Filter(
    reason="empty_mask",
    words="In one of the images the entity was not found.",
    setting="min_mask_fraction",
    default=0.002,
    limits={"ge": 0.0, "lt": 1.0},
    columns=("mask_0_area_fraction", "mask_1_area_fraction"),
    is_minimum=True,
    zero_fails=True,
    title="Smallest entity",
    measure="share of the image that the smaller entity covers",
    is_guard=True,
)
MASK_TOO_LARGE = Filter(
    reason="mask_too_large",
    words="The entities leave too little background to compare.",
    setting="max_mask_fraction",
    default=0.5,
    limits={"gt": 0.0, "le": 1.0},
    columns=("mask_0_area_fraction", "mask_1_area_fraction", "joint_entity_fraction"),
    is_minimum=False,
    title="Largest entity",
    measure="share of the image that the entities cover",
    is_guard=True,
)
NEAR_IDENTICAL = Filter(
    reason="near_identical",
    words="The images are nearly the same: nothing changed.",
    setting="min_pixel_mse",
    default=4.0,
    limits={"ge": 0.0},
    columns=("pixel_mse",),
    is_minimum=True,
    is_logarithmic=True,
    title="Least change",
    measure="mean squared difference of the images",
    note="All pixels count, on a scale of 0 to 255.",
    is_guard=True,
)
BACKGROUND_CHANGED = Filter(
    reason="background_changed",
    words="The background differs, clear of the entities.",
    setting="min_background_similarity",
    default=-651.0,
    limits={"le": 0.0},
    columns=("background_similarity_clear",),
    is_minimum=True,
    title="Least background similarity",
    measure="background similarity S clear of the masks",
    note="No pair lies below the default.",
)
SEAM = Filter(
    reason="seam",
    words="A seam or a halo shows around an entity.",
    setting="max_rim_seam",
    default=255.0,
    columns=("rim_seam",),
    is_minimum=False,
    title="Largest seam",
    measure="excess of the gradient around the entities (levels a pixel)",
    note="No pair lies above the default.",
)
CROPPED = Filter(
    reason="cropped",
    words="An entity seems to be cut off at the edge of its region.",
    setting="max_crop_evidence",
    default=1000.0,
    limits={"ge": 0.0},
    columns=("crop_evidence_0", "crop_evidence_1"),
    is_minimum=False,
    title="Largest crop evidence",
    measure="evidence of an entity just outside its region, over that inside",
    note="No pair lies above the default. Mode region alone has regions.",
)
_FIRST = (MIN_COMBINED, EMPTY_MASK, MASK_TOO_LARGE, NEAR_IDENTICAL)
BUILT_IN = (*_FIRST, BACKGROUND_CHANGED, SEAM, CROPPED)
"""The filters of this package. Reject reasons of a row stand in the order of this table."""

OTHER_REASONS: Mapping[str, str] = MappingProxyType(
    {
        RejectReason.NOT_BEST: "Another seed made a better pair of the same two prompts.",
        RejectReason.DUPLICATE: "The dataset holds a pair like it.",
        RejectReason.UNSAFE: "The content filter objects.",
        RejectReason.REVIEWED_OUT: "A person looked at it and said drop.",
        RejectReason.SPLIT_FAILED: "The prompts could not be split into background and entities.",
        RejectReason.DIFFERENCE_BEYOND_WINDOW: (
            "Prompts differ only behind the last token that a model reads."
        ),
        RejectReason.UNKNOWN_SCRIPT: (
            "Most of a prompt, or all that tells prompts apart, is unknown to a model's tokenizer."
        ),
        RejectReason.GENERATION_FAILED: "The model made no usable images.",
        RejectReason.INVALID_INPUT: "The row of the prompt set cannot be used.",
    }
)
"""Reasons that no bound gives, in words; they follow those of filters."""
_UNKNOWN = "A filter that is not installed here objected."
_DEFAULTS = {each.setting: each.default for each in _FIRST}


@cache
def list_filters() -> tuple[Filter, ...]:
    """Return the filters of this package, then those of others by the name of their entry point.

    Raises:
        ConfigError: an entry point does not load, is no filter, or uses a word that is taken.
    """
    filters = [*BUILT_IN]
    for name, found in sorted(find_plugins("filters").items()):
        where = f"entry point {name} of coupled_images.filters"
        if not isinstance(found, Filter):
            raise ConfigError(
                f"{where}: expected a coupled_core.filters.Filter; got {type(found).__name__}"
            )
        taken = {word for each in filters for word in (each.reason, each.setting)}
        # Both words are keys: reasons of manifest rows, settings of the command line.
        if again := {found.reason, found.setting} & {*taken, *OTHER_REASONS}:
            raise ConfigError(f"{where}: another filter has {' and '.join(sorted(again))}")
        filters.append(found)
    return tuple(filters)


def name_numbers(scores: PairScores, masks: tuple[EntityMask, EntityMask]) -> dict[str, Any]:
    """Return `NUMBERS` and `extra_scores` of a pair in memory, as in its manifest row."""
    numbers: dict[str, Any] = {name: getattr(scores, name) for name in METRIC_NAMES}
    numbers["extra_scores"] = write_extra_scores(scores.extra_scores)
    for index, mask in enumerate(masks):
        numbers[f"mask_{index}_area_fraction"] = mask.area_fraction
        numbers[f"mask_{index}_predicted_iou"] = mask.predicted_iou
    return numbers


def find_objections(
    numbers: Mapping[str, Any], thresholds: Mapping[str, float | None]
) -> list[Objection]:
    """Return everything that speaks against a pair, in the order of the table; empty: it passes.

    Args:
        numbers: A manifest row, or what `name_numbers` returns.
        thresholds: Bounds by setting. The first filters of this package have their defaults where
            none is named, or None; later ones and those of other packages are left out, since a
            run from before them was not decided by them. Nor do later ones speak against rows
            that were written before their score was measured.
    """
    named = {setting: bound for setting, bound in thresholds.items() if bound is not None}
    bounds = {**_DEFAULTS, **named}
    return [
        (each.reason, sentence)
        for each in list_filters()
        if each.setting in bounds and each.can_judge(numbers)
        for sentence in each.find_objections(numbers, bounds[each.setting])
    ]


def order_reasons(reasons: Iterable[str]) -> list[str]:
    """Return reasons as they stand in a row: each once, in the order of the tables."""
    given = {str(reason) for reason in reasons}
    known = [*(each.reason for each in list_filters()), *map(str, OTHER_REASONS)]
    # Unknown ones are of packages that are not installed here, and are kept.
    return [*(reason for reason in known if reason in given), *sorted(given.difference(known))]


def describe_reason(reason: str) -> str:
    """Return what a reject reason means, as a sentence."""
    words = {each.reason: each.words for each in list_filters()}
    return {**words, **OTHER_REASONS}.get(reason, _UNKNOWN)


def render_table() -> str:
    """Return the table of `filtering/README.md`: our filters, then all other reasons."""
    heads = ("reason", "means", "dropped unless", "default", "range", "re-cut")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in BUILT_IN:
        side = "≥" if each.is_minimum else "≤"
        signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
        limits = ", ".join(f"{signs[sign]} {limit:g}" for sign, limit in each.limits.items())
        cells = (
            f"`{each.reason}`",
            f"{each.words} {each.note}".strip(),
            f"{each.measure} {side} `{each.setting}`",
            f"{each.default:g}",
            limits or "any number",
            "gives and takes back" if each.recut_takes_back else "gives",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| `{reason}` | {words} | | | | |" for reason, words in OTHER_REASONS.items()]
    return "\n".join(lines)
