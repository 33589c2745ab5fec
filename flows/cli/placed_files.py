"""Puts the pictures and pages of a snapshot where the person at the terminal finds them."""

from pathlib import Path

from coupled_core.errors import StorageError
from coupled_core.storage.store import open_store


def place_contact_sheet(dataset: str, snapshot_id: str) -> str | None:
    """Copy a snapshot's contact sheet and return where to; None: the snapshot has none."""
    return _place(dataset, snapshot_id, "contact-sheet.png")


def place_report(dataset: str, snapshot_id: str) -> str | None:
    """Copy a snapshot's report and return where to; None: the snapshot has none."""
    return _place(dataset, snapshot_id, "report.html")


def _place(dataset: str, snapshot_id: str, name: str) -> str | None:
    """Copy to the top of the dataset where that is a folder, else into the current folder.

    Where neither can be written the file stays where it is: no run fails over a copy.
    """
    store, key = open_store(dataset), f"reports/{snapshot_id}/{name}"
    try:
        data = store.read(key)
    except StorageError:  # it was not made, or cannot be read now
        return None
    try:
        if "://" not in dataset:
            store.write(name, data)
            return f"{store.uri}/{name}"
        stem, dot, extension = name.partition(".")
        path = Path(f"{stem}-{snapshot_id}{dot}{extension}").absolute()
        path.write_bytes(data)
    except (OSError, StorageError):
        return f"{store.uri}/{key}"
    return str(path)
