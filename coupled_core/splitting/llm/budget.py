"""The allowance of one process that asks online: worst case first, what it really cost after."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from coupled_core.errors import LlmBudgetError
from coupled_core.splitting.llm.ledger import Ledger

_BLOCK_REQUESTS = 64
"""The ledger is asked for so many requests at a time; a kill holds back no more than that."""


class Purchase:
    """One request that has been reserved."""

    cost_usd = 0.0
    """Set it to what the answer cost; it stays 0 where nothing was bought."""


class OnlineBudget:
    """Reserves in memory, within blocks that the ledger has set aside. Safe under threads."""

    def __init__(self, ledger: Ledger, cap_usd: float | None) -> None:
        self._ledger, self._cap_usd = ledger, cap_usd
        self._name = f"online-{uuid.uuid4().hex}"
        self._held = self._spent = 0.0
        self._reserved: dict[Purchase, float] = {}
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, max_usd: float) -> Iterator[Purchase]:
        """Hold the worst case of a request while it is made.

        Waits while requests of other threads may still turn out cheaper.

        Raises:
            LlmBudgetError: the cap could be passed; nothing was bought.
        """
        purchase = Purchase()
        with self._changed:
            while not self._fits(max_usd):
                self._changed.wait()
            self._reserved[purchase] = max_usd
        try:
            yield purchase
        finally:
            with self._changed:
                del self._reserved[purchase]
                self._spent += purchase.cost_usd
                self._changed.notify_all()

    def settle(self) -> None:
        """Give back what was set aside and not spent."""
        with self._changed:
            if self._held:
                self._held = self._spent
                self._ledger.settle(self._name, self._spent)

    def _fits(self, max_usd: float) -> bool:
        """Say whether a request is within what is set aside, after setting aside more if needed."""
        needed = self._spent + sum(self._reserved.values()) + max_usd
        if needed <= self._held:
            return True
        for wanted in (needed + _BLOCK_REQUESTS * max_usd, needed):
            try:
                self._ledger.hold(self._name, wanted, self._cap_usd)
            except LlmBudgetError:
                if wanted == needed and not self._reserved:  # nobody's end is worth waiting for
                    raise
            else:
                self._held = wanted
                return True
        return False
