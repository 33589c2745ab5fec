"""What answers cost, what an account has spent, and what a process may still spend."""

import json
import math
import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from coupled_core.config import THINKING, LlmConfig, ModelPrice, Thinking
from coupled_core.errors import (
    ConfigError,
    ConflictError,
    LlmBudgetError,
    NotFoundError,
    StorageError,
)
from coupled_core.llm.question import Bounds
from coupled_core.storage.store import ObjectStore

_MILLION = 1_000_000


def check_cap(config: LlmConfig) -> None:
    """Refuse to begin where nobody said how much may be spent.

    Raises:
        ConfigError: there is neither a cap nor a word that there shall be none, or both.
    """
    if config.max_llm_usd is None and not config.no_cap:
        raise ConfigError(
            "a language model costs money, and no limit is set: say --max-llm-usd USD "
            "(`coupled plan` estimates the price), or --no-cap"
        )
    if config.max_llm_usd is not None and config.no_cap:
        raise ConfigError(
            f"max_llm_usd is {config.max_llm_usd:g} and no_cap is set, too: leave one of them out"
        )


def price_of(config: LlmConfig) -> ModelPrice:
    """Return the price of the configured model.

    Raises:
        ConfigError: the table has none; without it no cap on spending would hold.
    """
    if config.model not in config.prices:
        known = ", ".join(sorted(config.prices))
        raise ConfigError(
            f"split.prices has no price for the model {config.model!r} (it has {known}): add "
            f'"{config.model}": {{"input_usd": ..., "output_usd": ...}}, USD per million tokens'
        )
    return config.prices[config.model]


def thinking_of(config: LlmConfig) -> Thinking:
    """Return how much the configured model is to think.

    Raises:
        ConfigError: it does not take that.
    """
    thinking, known = config.least_thinking, THINKING.get(config.model)
    if known is not None and thinking not in known:
        raise ConfigError(
            f"{config.model} does not take thinking = {thinking}: expected auto, or one of "
            f"{', '.join(known)}"
        )
    return thinking


def cost_usd(price: ModelPrice, input_tokens: int, output_tokens: int, *, is_batch: bool) -> float:
    """Return the price of an answer's tokens in USD."""
    factor = price.batch_factor if is_batch else 1.0
    return factor * (input_tokens * price.input_usd + output_tokens * price.output_usd) / _MILLION


def max_cost_usd(price: ModelPrice, bounds: Bounds, *, is_batch: bool) -> float:
    """Return the most that the answer to a question can cost in USD."""
    return cost_usd(price, bounds.max_input_tokens, bounds.max_output_tokens, is_batch=is_batch)


_AMOUNTS = TypeAdapter(dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]])
_MAX_WRITES = 50
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
        for _ in range(_MAX_WRITES):
            amounts, etag = self._read()
            # Without our own former amount, which this one replaces.
            others = math.fsum(value for key, value in amounts.items() if key != name)
            if cap_usd is not None and others + usd > cap_usd:
                raise LlmBudgetError(
                    f"stopped at the cap of {cap_usd:g} USD: with the next request this run could "
                    f"have spent {others + usd:.6f} USD; what is answered is kept: raise "
                    "--max-llm-usd and run the same command again"
                )
            # Fails if anybody has changed the file since it was read: then the total may be
            # another.
            if self._write({**amounts, name: usd}, etag):
                return
            # Those who lost at the same moment must not try again at the same moment.
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
        try:
            return _AMOUNTS.validate_json(data, strict=True), etag
        except ValidationError as error:
            raise StorageError(
                f"{self._store.uri}/{self._key} is damaged, and with it what was spent: put an "
                'object like {"lost": USD} in its place'
            ) from error

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
            # What other callers of the same splitter still have on its way stays set aside.
            needed = self._spent + sum(self._reserved.values())
            if needed != self._held:
                self._ledger.settle(self._name, needed)
                self._held = needed

    def _fits(self, max_usd: float) -> bool:
        """Say whether a request is within what is set aside, after setting aside more if needed."""
        needed = self._spent + sum(self._reserved.values()) + max_usd
        if needed <= self._held:
            return True
        # A block if the cap allows it, else this one request.
        for wanted in (needed + _BLOCK_REQUESTS * max_usd, needed):
            try:
                self._ledger.hold(self._name, wanted, self._cap_usd)
            except LlmBudgetError:
                # Requests on their way may turn out cheaper; without any, waiting is no use.
                if wanted == needed and not self._reserved:
                    raise
            else:
                self._held = wanted
                return True
        return False
