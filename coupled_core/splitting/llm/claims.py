"""Who is asking what right now: two workers that need the same answer pay for it once.

A worker claims a question before it asks and gives the claim up when the answer is stored. While it
holds claims it beats: it rewrites one small object of its own. A claim whose owner has stopped
beating is abandoned, and the first who notices takes it over by a conditional write. Beats are told
apart by their content and timed by the clock of whoever waits, so no two clocks need to agree.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from coupled_core.errors import ConflictError, NotFoundError, StorageError
from coupled_core.storage.store import ObjectStore

_CLAIMS, _BEATS = "claims/", "askers/"


@dataclass(frozen=True)
class Lease:
    """How claims are kept and given up; tests wait less."""

    beat_seconds: float = 10.0
    lost_after_seconds: float = 60.0
    """An owner without a beat for so long is dead, and what it claimed is free."""
    poll_seconds: float = 1.0
    """Pause between two looks of somebody who waits."""


class Claims:
    """The claims of one process on questions that others may have, too. Safe under threads."""

    def __init__(self, store: ObjectStore, lease: Lease) -> None:
        """Make no request: nothing is written before the first claim."""
        self._store, self._lease = store, lease
        self._owner = uuid.uuid4().hex
        self._heart = _Heart(store, f"{_BEATS}{self._owner}", lease.beat_seconds)
        self._mine: set[str] = set()
        self._lock = threading.Lock()
        self._is_exclusive: bool | None = None
        self._seen_beats: dict[str, tuple[bytes, float]] = {}
        """The last beat of every other worker we have met, and when we first saw it."""

    @contextmanager
    def holding(self, request_sha256: str) -> Iterator[bool]:
        """Claim a question for a while; False: somebody else who is alive has claimed it."""
        is_mine = self.take(request_sha256)
        try:
            yield is_mine
        finally:
            if is_mine:
                self.give_up(request_sha256)

    def take(self, request_sha256: str) -> bool:
        """Claim a question; False: another worker, or another thread of ours, has claimed it."""
        with self._lock:
            if request_sha256 in self._mine:
                return False
            self._mine.add(request_sha256)
        is_mine = False
        try:
            is_mine = self._take_from_others(f"{_CLAIMS}{request_sha256}")
        finally:
            if not is_mine:
                self._mine.discard(request_sha256)
        return is_mine

    def give_up(self, request_sha256: str) -> None:
        """Let others have a question, once its answer is stored or there is none."""
        with suppress(StorageError):  # then it is free when we stop beating
            self._store.delete(f"{_CLAIMS}{request_sha256}")
        self._mine.discard(request_sha256)

    def wait_until_free(self, request_sha256: str) -> None:
        """Return when nobody who is alive claims a question, or a moment after that."""
        key = f"{_CLAIMS}{request_sha256}"
        while (found := self._read_claim(key)) is not None and self._is_alive(found[0]):
            time.sleep(self._lease.poll_seconds)

    def close(self) -> None:
        """Stop beating, unless threads of ours still hold claims: the last to close does it."""
        with self._lock:  # nobody may begin to claim between the look and the end of the beats
            if not self._mine:
                self._heart.stop()

    def _take_from_others(self, key: str) -> bool:
        self._heart.start()
        with self._lock:
            if self._is_exclusive is None:
                self._is_exclusive = self._heart.is_refused_twice()
        if not self._is_exclusive:
            return self._take_without_conditions(key)
        try:
            self._store.write_if_absent(key, self._owner.encode())
        except ConflictError:
            return self._take_over(key)
        return True

    def _take_over(self, key: str) -> bool:
        found = self._read_claim(key)
        if found is None:  # given up just now: its answer is there
            return False
        owner, etag = found
        if owner == self._owner:  # could not be given up when its answer was stored
            return True
        if self._is_alive(owner):
            return False
        try:
            self._store.write_if_match(key, self._owner.encode(), etag)
        except ConflictError:  # somebody else did the same
            return False
        with suppress(StorageError):  # so that nobody waits for the dead worker's other claims
            self._store.delete(f"{_BEATS}{owner}")
        return True

    def _take_without_conditions(self, key: str) -> bool:
        """Claim where the last writer wins: two that do so in the same moment may both succeed."""
        found = self._read_claim(key)
        if found is not None and found[0] != self._owner and self._is_alive(found[0]):
            return False
        self._store.write(key, self._owner.encode())
        found = self._read_claim(key)
        return found is not None and found[0] == self._owner

    def _read_claim(self, key: str) -> tuple[str, str] | None:
        """Return owner and etag of a claim; None: there is none."""
        try:
            data, etag = self._store.read_with_etag(key)
        except NotFoundError:
            return None
        return data.decode(), etag

    def _is_alive(self, owner: str) -> bool:
        """Say whether a worker beats, as far as we have watched it."""
        try:
            beat = self._store.read(f"{_BEATS}{owner}")
        except NotFoundError:  # it has come to its end and left this claim behind
            return False
        now = time.monotonic()
        with self._lock:
            last, since = self._seen_beats.get(owner, (b"", now))
            if beat != last:
                self._seen_beats[owner] = (beat, now)
                return True
            return now - since < self._lease.lost_after_seconds


class _Heart:
    """Rewrites an object from time to time, from the first claim until there are none left."""

    def __init__(self, store: ObjectStore, key: str, seconds: float) -> None:
        self._store, self._key, self._seconds = store, key, seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Beat at once, and then from time to time."""
        with self._lock:
            if self._thread is not None:
                return
            self._beat()
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Beat no more and leave nothing behind."""
        with self._lock:
            if self._thread is None:
                return
            self._stopped.set()
            self._thread.join()
            self._thread = None
            with suppress(StorageError):
                self._store.delete(self._key)

    def is_refused_twice(self) -> bool:
        """Say whether the store refuses to create the object of our beats again."""
        try:
            self._store.write_if_absent(self._key, uuid.uuid4().bytes)
        except ConflictError:
            return True
        return False

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            with suppress(StorageError):  # the next beat may go through
                self._beat()

    def _beat(self) -> None:
        self._store.write(self._key, uuid.uuid4().bytes)
