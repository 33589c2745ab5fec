"""The README.md at the root of a dataset: which parts are current, for readers that look there.

Whoever opens the folder by a pattern finds parts that no snapshot, or only an older one, holds.
`datasets.load_dataset(root)` and the Hugging Face Hub follow the list of files in this page
instead. It is advice: the pointer and its snapshot are what counts, and no commit fails over it.
"""

import logging

from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.reader import load_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import CoupledError, NotFoundError
from coupled_core.storage.store import ObjectStore

PAGE = "README.md"
_MARK = "<!-- written anew with every snapshot -->"
"""Tells our page from one that somebody wrote by hand, which is left alone."""
_MAX_TRIES = 3
_LOGGER = logging.getLogger(__name__)


def update_landing_page(store: ObjectStore, snapshot: Snapshot) -> None:
    """Write the page of the snapshot that has just become current.

    Nothing is raised: what could not be written is logged.
    """
    try:
        for _ in range(_MAX_TRIES):
            if not _is_ours(store):
                return
            store.write(PAGE, render_landing_page(snapshot))
            # Two writers that committed one after the other may come here in another order.
            pointer = read_pointer(store)
            if pointer is None or pointer.snapshot_id == snapshot.snapshot_id:
                return
            snapshot = load_snapshot(store, pointer.snapshot_id)
    except CoupledError as error:
        _LOGGER.warning("the data are committed, but %s is of an older snapshot: %s", PAGE, error)


def render_landing_page(snapshot: Snapshot) -> bytes:
    """Return the page: the files of the snapshot in the form that `datasets` reads, and words."""
    header = ["---", "configs:"]
    for kind, is_default in (("manifest", True), ("images", False)):
        if parts := snapshot.parts_of(kind):
            header += [f"- config_name: {kind}", f"  default: {str(is_default).lower()}"]
            header += ["  data_files:", *(f"  - {part.key}" for part in parts)]
    funnel = snapshot.funnel
    return "\n".join([*header, "---", "", _BODY.format(
        mark=_MARK,
        snapshot_id=snapshot.snapshot_id,
        num_kept=funnel.pairs_kept,
        num_rows=sum(part.num_rows for part in snapshot.parts_of("manifest")),
    )]).encode()  # fmt: skip


_BODY = """{mark}

# Coupled image pairs

Snapshot `{snapshot_id}`: {num_kept} kept pairs, {num_rows} manifest rows (dropped and failed ones say why).

```python
from datasets import load_dataset

rows = load_dataset("FOLDER", split="train").filter(lambda row: row["kept"])  # FOLDER: this one
images = load_dataset("FOLDER", "images", split="train")  # join by pair_id; `kept` of the row decides
```

`coupled files FOLDER` lists the current Parquet parts for any other reader. Patterns such as `manifest/*.parquet` also find parts of
earlier snapshots. Which snapshot is current stands in `current.json`; this page follows it.
"""  # noqa: E501


def _is_ours(store: ObjectStore) -> bool:
    try:
        return _MARK.encode() in store.read(PAGE)
    except NotFoundError:
        return True
