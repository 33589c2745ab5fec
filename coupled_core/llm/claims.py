"""Who is asking what right now: two workers that need the same answer pay for it once.

A worker claims a question before it asks and gives the claim up when the answer is stored. While it
holds claims it beats: it rewrites one small object of its own. A claim whose owner has stopped
beating is abandoned, and the first who notices takes it over by a conditional write. Beats are told
apart by their content and timed by the clock of whoever waits, so no two clocks need to agree.
"""

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from coupled_core.errors import ConflictError, NotFoundError, StorageError
from coupled_core.storage.store import ObjectStore

_CLAIMS, _BEATS = "claims/", "askers/"
_OWNER = re.compile(r"[0-9a-f]{32}")


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
        self._mine: set[str] = set()
        self._beating: threading.Thread | None = None
        self._stopped = threading.Event()
        self._is_exclusive = True
        """The store heeds conditional writes; found out with the first beat."""
        self._seen_beats: dict[str, tuple[bytes, float]] = {}
        """The last beat of every other worker we have met, and when we first saw it."""
        self._lock = threading.Lock()

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
            if self._beating is None:
                self._start_beating()
            self._mine.add(request_sha256)
        is_mine, key = False, f"{_CLAIMS}{request_sha256}"
        try:
            is_mine = self._create(key) if self._is_exclusive else self._overwrite(key)
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
        """Stop beating and leave nothing behind; not while other threads of ours hold claims."""
        with self._lock:  # nobody may begin to claim between the look and the last beat
            if self._mine or self._beating is None:
                return
            self._stopped.set()
            self._beating.join()
            self._beating = None
            self._remove_beats(self._owner)

    def _create(self, key: str) -> bool:
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
        self._remove_beats(owner)  # so that nobody waits for the dead worker's other claims
        return True

    def _overwrite(self, key: str) -> bool:
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
        return data.decode(errors="replace"), etag

    def _is_alive(self, owner: str) -> bool:
        """Say whether a worker beats, as far as we have watched it."""
        if not _OWNER.fullmatch(owner):  # nobody of ours has written this claim
            return False
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

    def _start_beating(self) -> None:
        """Beat at once, and then from time to time."""
        self._beat()
        try:
            self._store.write_if_absent(f"{_BEATS}{self._owner}", b"again")
            self._is_exclusive = False
        except ConflictError:
            self._is_exclusive = True
        self._stopped.clear()
        self._beating = threading.Thread(target=self._keep_beating, name="claims", daemon=True)
        self._beating.start()

    def _keep_beating(self) -> None:
        while not self._stopped.wait(self._lease.beat_seconds):
            with suppress(StorageError):  # the next beat may go through
                self._beat()

    def _beat(self) -> None:
        self._store.write(f"{_BEATS}{self._owner}", uuid.uuid4().bytes)

    def _remove_beats(self, owner: str) -> None:
        with suppress(StorageError):
            self._store.delete(f"{_BEATS}{owner}")
