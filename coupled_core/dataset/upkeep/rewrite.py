"""A new snapshot from changed rows: manifest parts are written anew, images stay where they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coupled_core.dataset.commit.commit import (
    MAX_ATTEMPTS,
    ensure_conditional_writes,
    pause_before_retry,
)
from coupled_core.dataset.commit.publish import publish_snapshot
from coupled_core.dataset.funnel import Funnel, count_rows
from coupled_core.dataset.part_files import write_image_files, write_manifest_file
from coupled_core.dataset.parts import (
    PartInfo,
    part_key,
    temporary_folder,
    upload_part,
    verify_part,
)
from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.reader import iter_images, iter_manifest, load_snapshot
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.errors import DatasetError
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectStore

_DROPPED = "dropped/"


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
    """Returns what the snapshot shall say about a run; the funnel is counted anew in any case."""
    prepare: Callable[[Snapshot], bool] = lambda _base: False
    """Looks at a snapshot before its rows are changed. True: forget what was changed before."""


@dataclass(frozen=True)
class _RewrittenPart:
    """What becomes of one manifest part."""

    run_id: str
    parts: tuple[PartInfo, ...]
    """The manifest part, and a part of images that came back among the kept ones."""
    funnel: Funnel


def rewrite_rows(
    store: ObjectStore, rewrite: Rewrite, *, single_writer: bool = False
) -> Snapshot | None:
    """Change rows and commit the result on top of what is current, whoever else writes.

    One manifest part is in memory at a time. A pair that is kept from now on and whose images are
    among those of dropped pairs gets them copied into an image part, where readers expect them.

    Returns:
        The new snapshot; None: nothing would change.

    Raises:
        DatasetError: there is no dataset, a kept pair has no stored images, a part is damaged, the
            store ignores conditions, or other writers won every attempt.
    """
    ensure_conditional_writes(store, single_writer=single_writer)
    done: dict[str, _RewrittenPart] = {}
    for attempt in range(MAX_ATTEMPTS):
        pointer = read_pointer(store)
        if pointer is None:
            raise DatasetError(f"{store.uri} holds no dataset: build one with `coupled build`")
        base = load_snapshot(store, pointer.snapshot_id)
        if rewrite.prepare(base):
            done.clear()
        _rewrite_parts(store, base, rewrite, done)
        snapshot = _follow(base, rewrite, done)
        if (snapshot.parts, snapshot.runs) == (base.parts, base.runs):
            return None
        if publish_snapshot(store, snapshot, pointer):
            return snapshot
        pause_before_retry(attempt)
    raise DatasetError(
        f"could not {rewrite.action} {store.uri}: other writers won {MAX_ATTEMPTS} times; try again"
    )


def _rewrite_parts(
    store: ObjectStore, base: Snapshot, rewrite: Rewrite, done: dict[str, _RewrittenPart]
) -> None:
    """Rewrite what a new base holds and the one before did not."""
    runs = {run.run_id: run for run in base.runs}
    todo = [part for part in base.parts_of("manifest") if part.key not in done]
    progress = current_progress()
    progress.begin(rewrite.action, sum(part.num_rows for part in todo))
    for part in todo:
        done[part.key] = _rewrite_part(store, base, part, runs[part.run_id], rewrite)
        progress.advance(rewrite.action, part.num_rows)


def _rewrite_part(
    store: ObjectStore, base: Snapshot, part: PartInfo, run: RunInfo, rewrite: Rewrite
) -> _RewrittenPart:
    verify_part(store, part)  # before damage would be written anew under a hash that fits it
    before = [row for batch in iter_manifest(store, [part]) for row in batch.to_pylist()]
    after = rewrite.change([dict(row) for row in before], run)
    if after == before:
        return _RewrittenPart(part.run_id, (part,), count_rows(before))
    _refuse_without_images(after, rewrite.action)
    with temporary_folder() as folder:
        images = _bring_back(store, base, part, after, folder)
        file = write_manifest_file(after, folder / "manifest.parquet")
        manifest = upload_part(store, file, part.run_id, part.shard_index)
    return _RewrittenPart(part.run_id, (manifest, *images), count_rows(after).check())


def _refuse_without_images(rows: Sequence[Row], action: str) -> None:
    missing = [row["pair_id"] for row in rows if row["kept"] and row["image_part"] is None]
    if missing:
        raise DatasetError(
            f"cannot {action}: {len(missing)} pairs would be kept whose images were not stored, "
            f"such as {missing[0]}; build with --store-dropped to store them from the start"
        )


def _bring_back(
    store: ObjectStore, base: Snapshot, part: PartInfo, rows: Sequence[Row], folder: Path
) -> tuple[PartInfo, ...]:
    """Copy images of kept rows out of the dropped parts, and let the rows name their new place."""
    returning = {row["pair_id"]: row for row in rows if row["kept"] and _is_dropped(row)}
    sources = {row["image_part"] for row in returning.values()}
    dropped = [each for each in base.parts_of("dropped") if each.key in sources]
    files, places = write_image_files(_images_of(store, dropped, returning.keys()), folder)
    if absent := returning.keys() - places.keys():
        raise DatasetError(
            f"{len(absent)} pairs are not where the manifest says, such as {min(absent)} in "
            f"{returning[min(absent)]['image_part']}: run `coupled verify`"
        )
    keys = [part_key(file, part.shard_index) for file in files]
    for name, place in places.items():
        returning[name].update(image_part=keys[place.file_index], image_row=place.row)
    return tuple(upload_part(store, file, part.run_id, part.shard_index) for file in files)


def _is_dropped(row: Row) -> bool:
    return str(row["image_part"]).startswith(_DROPPED)


def _images_of(
    store: ObjectStore, parts: Sequence[PartInfo], wanted: Any
) -> Iterator[dict[str, Any]]:
    for batch in iter_images(store, parts, kind="dropped"):
        yield from (row for row in batch.to_pylist() if row["pair_id"] in wanted)


def _follow(base: Snapshot, rewrite: Rewrite, done: Mapping[str, _RewrittenPart]) -> Snapshot:
    rewritten = [done[part.key] for part in base.parts_of("manifest")]
    kept = tuple(part for part in base.parts if part.kind != "manifest")
    known = {part.key for part in kept}
    new = tuple(p for each in rewritten for p in each.parts if p.key not in known)
    return Snapshot.create(
        parent=base.snapshot_id,
        runs=tuple(_recount(run, rewrite, rewritten) for run in base.runs),
        parts=kept + new,
        action=rewrite.action,
        details=dict(rewrite.details),
    )


def _recount(run: RunInfo, rewrite: Rewrite, parts: Sequence[_RewrittenPart]) -> RunInfo:
    funnel = sum((part.funnel for part in parts if part.run_id == run.run_id), Funnel())
    return rewrite.change_run(run).model_copy(update={"funnel": funnel.check()})
