"""Puts the contact sheet of a snapshot where the person at the terminal finds it."""

from pathlib import Path

from coupled_core.errors import NotFoundError
from coupled_core.storage.store import open_store


def place_contact_sheet(dataset: str, snapshot_id: str) -> str | None:
    """Copy a snapshot's contact sheet and return where to; None: the snapshot has none.

    Into the dataset where that is a folder, else into the current folder.
    """
    store = open_store(dataset)
    try:
        data = store.read(f"reports/{snapshot_id}/contact-sheet.png")
    except NotFoundError:
        return None
    if "://" not in dataset:
        store.write("contact-sheet.png", data)
        return f"{store.uri}/contact-sheet.png"
    path = Path(f"contact-sheet-{snapshot_id}.png")
    path.write_bytes(data)
    return str(path.absolute())
