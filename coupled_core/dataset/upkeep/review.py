"""What a person decided about pairs: a file of decisions, and the snapshot that follows from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo
from coupled_core.dataset.upkeep.rewrite import Rewrite, RewriteReport, rewrite_rows
from coupled_core.documents import MAX_STORED_BYTES, parse_json
from coupled_core.errors import ConfigError, DatasetError
from coupled_core.filters import order_reasons
from coupled_core.records import RejectReason
from coupled_core.storage.store import ObjectStore

FORMAT: Literal["coupled-review-1"] = "coupled-review-1"
KEEP: Literal["keep"] = "keep"
DROP: Literal["drop"] = "drop"
_MAX_NAMED = 5


class DecisionFile(BaseModel):
    """A decisions file, as the review page saves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["coupled-review-1"]
    dataset: str
    """Where the page was made from, for the person who finds the file."""
    snapshot_id: str
    """The snapshot that the person saw."""
    decisions: Mapping[str, Literal["keep", "drop"]]
    """By pair_id."""


@dataclass(frozen=True)
class ReviewReport(RewriteReport):
    """What applying decisions did."""

    num_decisions: int

    @property
    def num_confirmed(self) -> int:
        """Pairs whose verdict stays, now as a person's."""
        return self.num_decisions - self.num_dropped - self.num_kept


def parse_decisions(data: bytes, where: str) -> DecisionFile:
    """Read a decisions file.

    Args:
        where: Its name, for errors.

    Raises:
        ConfigError: it is not one.
    """
    try:
        return DecisionFile.model_validate(parse_json(data, MAX_STORED_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{where} is not a decisions file: {place}: {first['msg']} (got {first['input']!r}); "
            "save one from the page that `coupled review` writes"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{where} is not a decisions file: expected JSON; {error}") from error


def apply_decisions(
    store: ObjectStore, decisions: DecisionFile, *, single_writer: bool = False
) -> ReviewReport:
    """Write a person's decisions into the dataset as a new snapshot; all of them or none.

    A dropped pair is no longer kept, for the reason reviewed_out; a kept pair is kept whatever its
    scores. Both outlast re-cuts. Decisions about pairs hold on whatever snapshot is current.

    Raises:
        DatasetError: a pair is not in the dataset, or shall be kept although its images are not
            stored; or as `rewrite_rows`.
    """
    review = _Review(decisions.decisions)
    verdicts = Counter(decisions.decisions.values())
    details = {
        "reviewed_snapshot": decisions.snapshot_id,
        "keep": verdicts[KEEP],
        "drop": verdicts[DROP],
    }
    rewrite = Rewrite("review", details, review.change_part, review.check)
    report = rewrite_rows(store, rewrite, single_writer=single_writer)
    return ReviewReport(**vars(report), num_decisions=len(decisions.decisions))


class _Review:
    """Applies decisions row by row, and remembers which it could not carry out."""

    def __init__(self, verdicts: Mapping[str, str]) -> None:
        self._verdicts = verdicts
        self._unknown = set(verdicts)
        """Pairs that no row was about, so far."""
        self._without_images: set[str] = set()
        """Pairs to keep whose images are not stored."""

    def change_part(self, rows: Sequence[Row], _run: RunInfo) -> list[Row]:
        """Return the rows of a part with a person's verdicts."""
        return [self._change(row) for row in rows]

    def _change(self, row: Row) -> Row:
        """Return the row with a person's verdict, if there is one about it."""
        verdict = self._verdicts.get(row["pair_id"])
        if verdict is None:
            return row
        self._unknown.discard(row["pair_id"])
        # All decisions are looked at before any is refused, so that a person sees all of them.
        if verdict == KEEP and row["image_part"] is None:
            self._without_images.add(row["pair_id"])
            return row
        is_kept = verdict == KEEP
        # A keep clears all reasons: the row says that it is kept, and no kept row has one. Scores
        # stay, so a reader sees against what the person decided.
        reasons = (
            [] if is_kept else order_reasons([*row["reject_reasons"], RejectReason.REVIEWED_OUT])
        )
        return {**row, "review_status": verdict, "kept": is_kept, "reject_reasons": reasons}

    def check(self, run: RunInfo) -> RunInfo:
        """Return the run as it is; called when all rows were seen and nothing is visible yet.

        Raises:
            DatasetError: decisions that cannot be carried out, all of them named or counted.
        """
        if self._unknown:
            raise DatasetError(
                f"{len(self._unknown)} decisions are about pairs that are not in the dataset "
                f"({_name_some(self._unknown)}): was the page made from another dataset? "
                "Nothing was changed"
            )
        if self._without_images:
            raise DatasetError(
                f"{len(self._without_images)} pairs cannot be kept because their images are not "
                f"stored ({_name_some(self._without_images)}): take these decisions out of "
                "the file, or build with --store-dropped. Nothing was changed"
            )
        return run


def _name_some(pair_ids: set[str]) -> str:
    shown = ", ".join(sorted(pair_ids)[:_MAX_NAMED])
    return shown if len(pair_ids) <= _MAX_NAMED else f"{shown}, …"
