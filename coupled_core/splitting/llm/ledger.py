"""What an account has spent or set aside, durable before anything is bought."""

import json
import math
import random
import time
from collections.abc import Mapping

from coupled_core.errors import ConflictError, LlmBudgetError, NotFoundError, StorageError
from coupled_core.storage.store import ObjectStore

_MAX_ATTEMPTS = 50
_MAX_PAUSE_SECONDS = 0.2


class Ledger:
    """Amounts in USD under names, one for each batch and each process that asks online.

    An amount is set, never added to, so that saying the same thing twice changes nothing. It is the
    most that can have been spent under its name, and exact once that is settled. All changes go
    through conditional writes: two processes cannot both take the last dollar.
    """

    def __init__(self, store: ObjectStore, account: str) -> None:
        self._store, self._key = store, f"spent/{account}.json"

    def total(self) -> float:
        """Return what is spent or set aside, in USD."""
        return math.fsum(self._read()[0].values())

    def hold(self, name: str, usd: float, cap_usd: float | None) -> None:
        """Set an amount if the total stays within a cap.

        Raises:
            LlmBudgetError: it would not; nothing has changed.
        """
        for _ in range(_MAX_ATTEMPTS):
            amounts, etag = self._read()
            others = math.fsum(value for key, value in amounts.items() if key != name)
            if cap_usd is not None and others + usd > cap_usd:
                raise LlmBudgetError(
                    f"stopped at the cap of {cap_usd:g} USD: with the next request this run could "
                    f"have spent {others + usd:.6f} USD; what is answered is kept: raise "
                    "--max-llm-usd and run the same command again"
                )
            if self._write({**amounts, name: usd}, etag):
                return
            time.sleep(random.uniform(0, _MAX_PAUSE_SECONDS))
        raise StorageError(f"{self._store.uri}/{self._key} changes too fast: run it again")

    def settle(self, name: str, usd: float) -> None:
        """Set an amount to what was really spent."""
        self.hold(name, usd, cap_usd=None)

    def _read(self) -> tuple[Mapping[str, float], str | None]:
        try:
            data, etag = self._store.read_with_etag(self._key)
        except NotFoundError:
            return {}, None
        return json.loads(data), etag

    def _write(self, amounts: Mapping[str, float], etag: str | None) -> bool:
        data = json.dumps(amounts, sort_keys=True).encode()
        try:
            if etag is None:
                self._store.write_if_absent(self._key, data)
            else:
                self._store.write_if_match(self._key, data, etag)
        except ConflictError:
            return False
        return True
