"""Puts the pictures and pages of a snapshot where the person at the terminal finds them."""

from pathlib import Path

from coupled_core.errors import NotFoundError
from coupled_core.storage.store import open_store


def place_contact_sheet(dataset: str, snapshot_id: str) -> str | None:
    """Copy a snapshot's contact sheet and return where to; None: the snapshot has none."""
    return _place(dataset, snapshot_id, "contact-sheet.png")


def place_report(dataset: str, snapshot_id: str) -> str | None:
    """Copy a snapshot's report and return where to; None: the snapshot has none."""
    return _place(dataset, snapshot_id, "report.html")


def _place(dataset: str, snapshot_id: str, name: str) -> str | None:
    """Copy into the dataset where that is a folder, else into the current folder."""
    store = open_store(dataset)
    try:
        data = store.read(f"reports/{snapshot_id}/{name}")
    except NotFoundError:
        return None
    if "://" not in dataset:
        store.write(name, data)
        return f"{store.uri}/{name}"
    stem, dot, extension = name.partition(".")
    path = Path(f"{stem}-{snapshot_id}{dot}{extension}")
    path.write_bytes(data)
    return str(path.absolute())
