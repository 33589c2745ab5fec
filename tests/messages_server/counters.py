"""What the server has seen and what it would have been paid for."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Counters:
    """Counts requests, statuses, paid answers and tokens; safe under threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()
        self._paid: Counter[str] = Counter()
        self._paid_by_prompts: Counter[str] = Counter()
        self._paid_by_custom_id: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._in_flight = self._max_in_flight = self._sdk_retries = 0

    @contextmanager
    def request(self, kind: str, *, is_retry: bool) -> Iterator[None]:
        """Count a request, and how many run at once while it runs."""
        with self._lock:
            self._requests[kind] += 1
            self._sdk_retries += is_retry
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def status(self, status: int | str) -> None:
        """Count how a request was answered; "reset" where it was not."""
        with self._lock:
            self._statuses[str(status)] += 1

    def faults(self, names: Mapping[str, Any]) -> None:
        """Count the faults that a request showed."""
        with self._lock:
            self._faults.update(list(names))

    def row(self, result: str) -> None:
        """Count a row of an ended batch: succeeded, errored, expired, canceled."""
        with self._lock:
            self._rows[result] += 1

    def paid(
        self, kind: str, key: str, usage: Mapping[str, Any], custom_id: str | None, *, repair: bool
    ) -> None:
        """Count an answer that would stand on the bill."""
        with self._lock:
            self._paid[kind] += 1
            self._paid["repairs"] += repair
            if not repair:
                self._paid_by_prompts[key] += 1
            if custom_id is not None:
                self._paid_by_custom_id[custom_id] += 1
            for name, value in usage.items():
                if name.endswith("tokens"):
                    self._tokens[f"{kind}_{name}"] += value

    def snapshot(self) -> dict[str, Any]:
        """Return all totals."""
        with self._lock:
            return {
                "requests": dict(self._requests),
                "statuses": dict(self._statuses),
                "faults": dict(self._faults),
                "rows": dict(self._rows),
                "paid": {
                    "online": self._paid["online"],
                    "batch": self._paid["batch"],
                    "repairs": self._paid["repairs"],
                    "distinct_prompts": len(self._paid_by_prompts),
                    "max_by_prompts": max(self._paid_by_prompts.values(), default=0),
                },
                "tokens": dict(self._tokens),
                "max_in_flight": self._max_in_flight,
                "sdk_retries": self._sdk_retries,
            }

    def paid_requests(self) -> dict[str, Any]:
        """Return how often each set of prompts and each custom_id was paid for, repairs apart."""
        with self._lock:
            return {
                "by_prompts": dict(self._paid_by_prompts),
                "by_custom_id": dict(self._paid_by_custom_id),
            }
