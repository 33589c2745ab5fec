"""The contact sheet of a run: kept pairs from the dataset, dropped ones from its shards' work."""

from collections.abc import Iterator, Sequence

from coupled_core.config import RunConfig
from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.records import GenerationProvenance
from coupled_core.report.contact_sheet import (
    SheetRow,
    choose_rows,
    describe_pair,
    draw_contact_sheet,
    iter_kept_pairs,
)
from coupled_core.runs.facts import describe_run
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.write_stage import iter_dropped

_MAX_SHARDS = 6
"""A sheet shows two dozen pairs; a few shards are enough to choose from."""


def draw_run_sheet(
    config: RunConfig,
    works: Sequence[ShardWork],
    snapshot: Snapshot,
    generation: GenerationProvenance,
) -> bytes:
    """Return the sheet as PNG.

    Args:
        config: All settings of the run.
        works: Its finished shards.
        snapshot: The snapshot that holds them.
        generation: What the settings of generation resolved to.
    """
    step = max(1, len(works) // _MAX_SHARDS)
    shown = works[::step][:_MAX_SHARDS]
    rows = (row for work in shown for row in _shard_rows(config, work, snapshot, generation))
    return draw_contact_sheet(choose_rows(rows))


def _shard_rows(
    config: RunConfig, work: ShardWork, snapshot: Snapshot, generation: GenerationProvenance
) -> Iterator[SheetRow]:
    run_id, index = work.plan.run_id, work.plan.shard_index
    parts = [p for p in snapshot.parts if (p.run_id, p.shard_index) == (run_id, index)]
    yield from iter_kept_pairs(work.store, parts)
    facts = describe_run(config, run_id)
    batch_size = config.generation.batch_size
    dropped = iter_dropped(work.content(), work.folder, facts, generation, batch_size=batch_size)
    for row, images in dropped:
        yield SheetRow(
            decode_image(images.image_0.data),
            decode_image(images.image_1.data),
            decode_mask(images.mask_0),
            decode_mask(images.mask_1),
            kept=False,
            lines=describe_pair(row),
        )
