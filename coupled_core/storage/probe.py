"""Find out whether a store keeps the promises that a dataset rests on."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from coupled_core.errors import ConflictError, StorageError
from coupled_core.storage.scratch import scratch_folder
from coupled_core.storage.store import ObjectStore

_WRONG_ETAG = '"00000000000000000000000000000000"'
_CONTENT = b"what was written"
# Each chunk of aws-chunked begins with its length in hex, often with a signature.
_CHUNK_HEAD = re.compile(rb"[0-9a-fA-F]+(;[^\r\n]*)?\r\n")
_MAX_SHOWN_BYTES = 40


def probe_round_trip(store: ObjectStore) -> None:
    """Write a small object in each of the ways that we write, and read it back.

    Raises:
        StorageError: the store refuses, in its own words, or gives back something else.
    """
    with _key_of_our_own(store) as key, scratch_folder("probe") as folder:
        store.write(key, _CONTENT)
        _check_content(store, store.read(key))
        with store.open_input(key) as file:
            # Parquet is read by ranges: a server that ignores them must show here.
            file.seek(len(b"what "))
            _check_content(store, b"what " + file.read())
        path = folder / "object"
        path.write_bytes(_CONTENT)
        store.upload_file(key, path, as_large=True)
        _check_content(store, store.read(key))


def probe_conditional_writes(store: ObjectStore) -> bool:
    """Try to break both conditions on a key of our own; False when the store lets us."""
    with _key_of_our_own(store) as key:
        store.write(key, _CONTENT)
        return _refuses_absent(store, key) and _refuses_match(store, key)


@contextmanager
def _key_of_our_own(store: ObjectStore) -> Iterator[str]:
    # Below work/, where `gc` takes away what a killed probe leaves behind.
    key = f"work/probe-{uuid.uuid4().hex}"
    try:
        yield key
    except BaseException:
        with suppress(StorageError):  # it failed already, and that is the failure to tell
            store.delete(key)
        raise
    store.delete(key)


def _check_content(store: ObjectStore, found: bytes) -> None:
    if found == _CONTENT:
        return
    advice = "use another store"
    if _CHUNK_HEAD.match(found):
        advice = (
            "it keeps the framing of uploads (aws-chunked) as content; set "
            "AWS_REQUEST_CHECKSUM_CALCULATION=when_required, or use another store"
        )
    raise StorageError(
        f"{store.uri} does not give back what it was given: expected {_CONTENT!r}, got "
        f"{len(found)} bytes that begin with {found[:_MAX_SHOWN_BYTES]!r}; {advice}"
    )


def _refuses_absent(store: ObjectStore, key: str) -> bool:
    try:
        store.write_if_absent(key, b"second")
    except ConflictError:
        return True
    return False


def _refuses_match(store: ObjectStore, key: str) -> bool:
    try:
        store.write_if_match(key, b"third", _WRONG_ETAG)
    except ConflictError:
        return True
    return False
