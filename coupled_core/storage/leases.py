"""Who works on what: of several workers one does it, the others wait or do something else.

A worker leases a piece of work before it begins and gives the lease up when the result is stored.
While it holds leases it beats: it rewrites one small object of its own. A lease whose owner has
stopped beating is abandoned, and the first who notices takes it over by a conditional write, which
raises its epoch. Beats are told apart by their content and timed by the clock of whoever waits, so
no two clocks need to agree. An owner that was paused asks `renew` before it spends anything again.
A thread beats, which lives on where the work hangs; so it stops where nothing gets on for long.
"""

import json
import math
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from coupled_core.documents import DAMAGE, parse_json
from coupled_core.errors import ConflictError, LeaseLostError, NotFoundError, StorageError
from coupled_core.storage.process import describe_process, host_name, is_known_dead
from coupled_core.storage.store import ObjectStore

BEATS = "beats/"
"""The folder, beside the leases, in which each owner has the object that it rewrites."""
_OWNER = re.compile(r"[0-9a-f]{32}", re.ASCII)
# Far more than we ever write: what is larger is none of ours, and not parsed.
_MAX_BYTES = 1 << 16
_MAX_SHOWN_CHARS = 64  # a host name on Linux has no more


@dataclass(frozen=True)
class LeaseTimes:
    """How leases are kept and given up; tests wait less."""

    beat_seconds: float = 10.0
    lost_after_seconds: float = 60.0
    """An owner without a beat for so long is dead, and what it leased is free."""
    poll_seconds: float = 1.0
    """Pause between two looks of somebody who waits."""
    hung_after_seconds: float = math.inf
    """An owner that gets nothing on for so long, as `get_on` tells, beats no more until it does."""


@dataclass(frozen=True)
class Lease:
    """What stands in a lease."""

    owner: str
    """Random, 32 hex digits; no two workers share one. Empty: nobody of ours has written it."""
    epoch: int
    """1 for the first owner; each takeover adds 1."""
    host: str
    since: str
    """When it was taken, by the owner's clock: for people, never compared."""
    process: str
    """As `storage.process` describes it; empty where the system does not tell."""

    def __str__(self) -> str:
        taken_over = f", taken over {self.epoch - 1} times" if self.epoch > 1 else ""
        # Another process wrote them: what stands in log lines must not begin new ones.
        host, since = (ascii(text[:_MAX_SHOWN_CHARS])[1:-1] for text in (self.host, self.since))
        return f"{host} since {since} (worker {self.owner[:8]}{taken_over})"


class Leases:
    """The leases of one worker on work that others may want to do, too. Safe under threads."""

    def __init__(self, store: ObjectStore, prefix: str, times: LeaseTimes) -> None:
        """Make no request: nothing is written before the first lease.

        Args:
            store: Where all workers look.
            prefix: What the keys of all leases of this kind begin with, such as "claims/".
            times: How often owners beat, and how long others wait for them.
        """
        self._store, self._prefix, self._times = store, prefix, times
        self._owner = uuid.uuid4().hex
        self._mine: dict[str, int] = {}
        """The epochs of the leases that we hold, by name; 0: about to be taken."""
        self._beating: threading.Thread | None = None
        self._stopped = threading.Event()
        self._got_on_at = time.monotonic()
        self._is_exclusive: bool | None = None
        """The store heeds conditional writes; None: found out with the first beat."""
        self._seen_beats: dict[str, tuple[bytes, float]] = {}
        """The last beat of every other worker we have met, and when we first saw it."""
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Lease some work for a while; False: somebody else who is alive has leased it."""
        is_mine = self.take(name)
        try:
            yield is_mine
        finally:
            if is_mine:
                self.give_up(name)

    def take(self, name: str) -> bool:
        """Lease some work; False: another worker, or another thread of ours, has leased it.

        Args:
            name: Of the work, the same for all workers: letters, digits, dots, dashes.
        """
        self.get_on()
        with self._lock:
            if name in self._mine:
                return False
            # Beats begin before the lease is written: whoever finds a lease without a beat takes
            # its owner for dead. Under the lock, so that two threads do not both start.
            if self._beating is None:
                self._start_beating()
            # Claimed among our own threads first; the requests themselves are made without the
            # lock.
            self._mine[name] = 0
        epoch, key = None, self._key(name)
        try:
            epoch = self._create(key) if self._is_exclusive else self._overwrite(key)
        finally:
            with self._lock:
                if epoch is None:
                    # Also after an error: the lease may have been written, but nothing is done
                    # under it, and `_take_over` knows it for ours when it is tried again.
                    del self._mine[name]
                else:
                    self._mine[name] = epoch
        return epoch is not None

    def get_on(self) -> None:
        """Say that work gets on; `take` and `renew` say so, too."""
        self._got_on_at = time.monotonic()

    def renew(self, name: str) -> None:
        """Make sure that we still hold a lease; call it before anything is spent on the work.

        Raises:
            LeaseLostError: we were silent for too long, and another worker goes on with it.
            StorageError: nobody knows, as the store does not answer.
        """
        found = self.find(name)
        # The epoch too: we may have lost the lease and taken it again in another thread since.
        if found is None or (found.owner, found.epoch) != (self._owner, self._mine.get(name)):
            now = f"{found} goes on with it" if found else "another worker has finished or freed it"
            raise LeaseLostError(
                f"this process was paused, cut off or hung, and lost its lease on {name}: {now}; "
                "nothing more is done here"
            )
        self.get_on()

    def give_up(self, name: str) -> None:
        """Let others have some work, once its result is stored or there is none."""
        # A lease that was lost meanwhile is somebody else's. Should this fail, ours is free as soon
        # as we stop beating.
        with suppress(StorageError):
            found = self.find(name)
            if found is not None and found.owner == self._owner:
                self._store.delete(self._key(name))
        with self._lock:
            self._mine.pop(name, None)

    def find(self, name: str) -> Lease | None:
        """Return a lease as it stands, its owner alive or not; None: the work is free."""
        found = self._read(self._key(name))
        return found and found[0]

    def find_holder(self, name: str) -> Lease | None:
        """Return the lease of somebody who is alive, ourselves included; None: the work is free.

        Who holds it is dead only after we have looked for long enough. What we have found out
        about the dead is told to all: whoever looks after us need not wait once more.
        """
        found = self.find(name)
        if found is None or self._is_alive(found):
            return found
        # Without its beat, everybody else sees at the first look that the owner is dead.
        self._remove_beats(found.owner)
        return None

    def wait_until_free(self, name: str) -> None:
        """Return when nobody who is alive holds a lease, or a moment after that."""
        while self.find_holder(name) is not None:
            time.sleep(self._times.poll_seconds)

    def close(self) -> None:
        """Stop beating and leave nothing behind; not while other threads of ours hold leases."""
        with self._lock:  # nobody may begin to lease between the look and the last beat
            if self._mine or self._beating is None:
                return
            self._stopped.set()
            # The beating thread never takes the lock, so this cannot wait for ever. Only then is
            # the beat removed, or a last one would write it again.
            self._beating.join()
            self._beating = None
            self._remove_beats(self._owner)

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _create(self, key: str) -> int | None:
        try:
            self._store.write_if_absent(key, self._write_down(1))
        except ConflictError:
            return self._take_over(key)
        return 1

    def _take_over(self, key: str) -> int | None:
        found = self._read(key)
        if found is None:  # given up just now: its result is there
            return None
        lease, etag = found
        if lease.owner == self._owner:  # could not be given up when its result was stored
            return lease.epoch
        if self._is_alive(lease):
            return None
        epoch = lease.epoch + 1
        try:
            self._store.write_if_match(key, self._write_down(epoch), etag)
        except ConflictError:
            # Somebody else did the same, unless the answer to our own write got lost on its way.
            found = self._read(key)
            if found is None or found[0].owner != self._owner:
                return None
        self._remove_beats(lease.owner)  # so that nobody waits for the dead worker's other leases
        return epoch

    def _overwrite(self, key: str) -> int | None:
        """Lease where the last writer wins: two that do so in the same moment may both succeed."""
        found = self._read(key)
        if found is not None and found[0].owner != self._owner and self._is_alive(found[0]):
            return None
        epoch = found[0].epoch + 1 if found else 1
        self._store.write(key, self._write_down(epoch))
        found = self._read(key)
        return epoch if found is not None and found[0].owner == self._owner else None

    def _write_down(self, epoch: int) -> bytes:
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S UTC}"
        lease = Lease(self._owner, epoch, host_name(), now, describe_process())
        return json.dumps(asdict(lease)).encode()

    def _read(self, key: str) -> tuple[Lease, str] | None:
        """Return a lease and its etag; None: there is none."""
        try:
            data, etag = self._store.read_with_etag(key)
        except NotFoundError:
            return None
        return _parse(data), etag

    def _is_alive(self, lease: Lease) -> bool:
        """Say whether the owner of a lease beats, as far as we have watched it."""
        # On the same machine a dead process is seen at once; of others only silence tells.
        if not lease.owner or is_known_dead(lease.process):
            return False
        try:
            beat = self._store.read(f"{self._prefix}{BEATS}{lease.owner}")
        except NotFoundError:  # it has come to its end and left this lease behind
            return False
        now = time.monotonic()
        with self._lock:
            last, since = self._seen_beats.get(lease.owner, (b"", now))
            # New to us, or new since the last look: either way its silence is counted from now on,
            # so that we wait in full before we call anybody dead.
            if beat != last:
                self._seen_beats[lease.owner] = (beat, now)
                return True
            return now - since < self._times.lost_after_seconds

    def _start_beating(self) -> None:
        """Beat at once, and then from time to time."""
        self._beat()
        if self._is_exclusive is None:
            try:
                # Our beat is there: a store that heeds conditions must refuse to create it a second
                # time.
                self._store.write_if_absent(f"{self._prefix}{BEATS}{self._owner}", b"again")
                self._is_exclusive = False
            except ConflictError:
                self._is_exclusive = True
        self._stopped.clear()
        self._beating = threading.Thread(target=self._keep_beating, name="leases", daemon=True)
        self._beating.start()

    def _keep_beating(self) -> None:
        while not self._stopped.wait(self._times.beat_seconds):
            # It does not end: work that hung may get on again, and then still needs its beats.
            if time.monotonic() - self._got_on_at > self._times.hung_after_seconds:
                continue
            with suppress(StorageError):  # the next beat may go through
                self._beat()

    def _beat(self) -> None:
        self._store.write(f"{self._prefix}{BEATS}{self._owner}", uuid.uuid4().bytes)

    def _remove_beats(self, owner: str) -> None:
        # A damaged lease names nobody, and "beats/" alone is no key.
        if not owner:
            return
        with suppress(StorageError):
            self._store.delete(f"{self._prefix}{BEATS}{owner}")


def _parse(data: bytes) -> Lease:
    """Return a stored lease; what nobody of ours has written is one that nobody holds."""
    try:
        values = parse_json(data, _MAX_BYTES)
        owner, process = str(values["owner"]), str(values["process"])
        # The owner becomes part of a key; only what `Leases` itself gives out may.
        if not _OWNER.fullmatch(owner):
            raise ValueError(owner)
        return Lease(
            owner, int(values["epoch"]), str(values["host"]), str(values["since"]), process
        )
    except DAMAGE:
        return Lease("", 0, "unknown", "unknown", "")
