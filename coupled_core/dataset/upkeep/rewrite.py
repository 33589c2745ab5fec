"""A new snapshot from changed rows: manifest parts are written anew, images stay where they are."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coupled_core.dataset.columns import check_rewritable
from coupled_core.dataset.commit.extend_index import extend_index
from coupled_core.dataset.commit.publish import publish_rebased
from coupled_core.dataset.commit.upload import settle_name, upload_part, verify_part
from coupled_core.dataset.funnel import Funnel, count_rows
from coupled_core.dataset.parts import (
    ImageFiles,
    PartFile,
    PartInfo,
    temporary_folder,
    write_manifest_file,
)
from coupled_core.dataset.reader import iter_manifest, iter_rows, iter_stored_images
from coupled_core.dataset.row_index import PartRows, open_index
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.errors import DatasetError
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class Rewrite:
    """A change of rows."""

    action: str
    """Goes into the snapshot, such as "recut"."""
    details: Mapping[str, Any]
    """What was asked for; goes into the snapshot."""
    change: Callable[[Sequence[Row], RunInfo], list[Row]]
    """Takes the rows of a part and the run that made them, returns them as they shall be. All
    attempts at a pair stand in one part."""
    change_run: Callable[[RunInfo], RunInfo] = lambda run: run
    """Returns what the snapshot shall say about a run; the funnel is counted anew in any case.
    Called when all rows were changed and nothing is visible yet."""
    prepare: Callable[[Snapshot], bool] = lambda _base: False
    """Looks at a snapshot before its rows are changed. True: forget what was changed before."""


@dataclass(frozen=True)
class RewriteReport:
    """What a change of rows did."""

    snapshot: Snapshot | None
    """None: nothing changed."""
    num_dropped: int
    """Pairs that were kept before."""
    num_kept: int
    """Pairs that were dropped before."""
    num_changed: int
    """Rows that differ in any way, those two kinds included."""


def rewrite_rows(
    store: ObjectStore, rewrite: Rewrite, *, single_writer: bool = False
) -> RewriteReport:
    """Change rows and commit the result on top of what is current, whoever else writes.

    One manifest part is in memory at a time, and 200 bytes of each row of parts that change. A pair
    that is kept from now on and whose images are among those of dropped pairs gets them copied into
    an image part, where readers expect them.

    Raises:
        DatasetError: there is no dataset, a newer version wrote it, a kept pair has no stored
            images, a part is damaged, the store ignores conditions, or other writers won every
            attempt.
    """
    rewriting = _Rewriting(store, rewrite)
    what = f"{rewrite.action} {store.uri}"
    snapshot = publish_rebased(store, rewriting.follow, what, single_writer=single_writer)
    changes = sum((part.changes for part in rewriting.parts), Counter[str]())
    return RewriteReport(snapshot, changes["dropped"], changes["kept"], changes["all"])


@dataclass(frozen=True)
class _RewrittenPart:
    """What becomes of one manifest part."""

    run_id: str
    parts: tuple[PartInfo, ...]
    """The manifest part, and parts of images that came back among the kept ones."""
    funnel: Funnel
    changes: Counter[str] = field(default_factory=Counter)
    """The numbers of a `RewriteReport`."""


class _Rewriting:
    """Rewrites a snapshot part by part; parts that a rival's snapshot shares are done already."""

    def __init__(self, store: ObjectStore, rewrite: Rewrite) -> None:
        self._store, self._rewrite = store, rewrite
        self._rows = PartRows(store)
        self._done: dict[str, _RewrittenPart] = {}
        """By key of the part as it was."""
        self._named: frozenset[str] = frozenset()
        """Keys of all parts of the snapshot that is followed."""
        self.parts: list[_RewrittenPart] = []
        """The manifest parts of the last snapshot that was followed."""

    def follow(self, base: Snapshot | None) -> Snapshot | None:
        """Return the snapshot with the changed rows; None: it would be the same."""
        if base is None:
            raise DatasetError(
                f"{self._store.uri} holds no dataset: build one with `coupled build`"
            )
        check_rewritable(base.schema_version, f"snapshot {base.snapshot_id}")
        if self._rewrite.prepare(base):
            self._done.clear()
        self._named = frozenset(part.key for part in base.parts)
        self._rewrite_parts(base)
        self.parts = [self._done[part.key] for part in base.parts_of("manifest")]
        others = tuple(part for part in base.parts if part.kind != "manifest")
        # Images that came back may lie in a part that an earlier re-cut has made already.
        known = {part.key for part in others}
        new = tuple(p for each in self.parts for p in each.parts if p.key not in known)
        runs, parts = tuple(self._recount(run) for run in base.runs), others + new
        # Names of parts follow from their content: the same parts are the same rows.
        if (set(parts), runs) == (set(base.parts), base.runs):
            return None
        with open_index(self._store, base, self._rows) as index:
            return Snapshot.create(
                parent=base.snapshot_id,
                runs=runs,
                parts=parts,
                index=extend_index(self._store, index, self._rows, parts),
                action=self._rewrite.action,
                details=dict(self._rewrite.details),
            )

    def _rewrite_parts(self, base: Snapshot) -> None:
        todo = [part for part in base.parts_of("manifest") if part.key not in self._done]
        progress, action = current_progress(), self._rewrite.action
        progress.begin(action, sum(part.num_rows for part in todo))
        for part in todo:
            self._done[part.key] = self._rewrite_part(part, base.run_of(part))
            progress.advance(action, part.num_rows)

    def _rewrite_part(self, part: PartInfo, run: RunInfo) -> _RewrittenPart:
        # Otherwise damage would be written anew under a hash that fits it.
        verify_part(self._store, part)
        before = list(iter_rows(iter_manifest(self._store, [part])))
        # On copies, so that what changed can be told afterwards.
        after = self._rewrite.change([dict(row) for row in before], run)
        # An unchanged part keeps its name, and readers need not fetch it again.
        if after == before:
            return _RewrittenPart(part.run_id, (part,), count_rows(before))
        changes: Counter[str] = Counter()
        for old, new in zip(before, after, strict=True):
            changes["all"] += old != new
            changes["dropped"] += old["kept"] and not new["kept"]
            changes["kept"] += new["kept"] and not old["kept"]
        _refuse_without_images(after, self._rewrite.action)
        with temporary_folder() as folder:
            # Images first, as in a commit: the rows name where they stand.
            images = self._bring_back(part, after, folder)
            file = self._settle(write_manifest_file(after, folder, part.shard_index))
            parts = (upload_part(self._store, file, part.run_id), *images)
        return _RewrittenPart(part.run_id, parts, count_rows(after).check(), changes)

    def _bring_back(
        self, part: PartInfo, rows: Sequence[Row], folder: Path
    ) -> tuple[PartInfo, ...]:
        """Copy images of kept rows out of the dropped parts; let the rows name their new place."""
        returning = [row for row in rows if row["kept"] and _is_among_dropped(row)]
        images = ImageFiles(folder, part.shard_index, settle=self._settle)
        for _, found in iter_stored_images(self._store, returning):
            images.add(found)
        files = images.finish()
        for row in returning:
            row["image_part"], row["image_row"] = images.places[row["pair_id"]]
        return tuple(upload_part(self._store, file, part.run_id) for file in files)

    def _settle(self, file: PartFile) -> PartFile:
        return settle_name(self._store, file, self._named)

    def _recount(self, run: RunInfo) -> RunInfo:
        funnels = (part.funnel for part in self.parts if part.run_id == run.run_id)
        funnel = sum(funnels, Funnel()).check()
        return self._rewrite.change_run(run).model_copy(update={"funnel": funnel})


def _refuse_without_images(rows: Sequence[Row], action: str) -> None:
    missing = [row["pair_id"] for row in rows if row["kept"] and row["image_part"] is None]
    if missing:
        raise DatasetError(
            f"cannot {action}: {len(missing)} pairs would be kept whose images were not stored, "
            f"such as {missing[0]}; build with --store-dropped to store them from the start"
        )


def _is_among_dropped(row: Row) -> bool:
    return str(row["image_part"]).startswith("dropped/")
