"""The splitter that asks a language model, over whichever transport suits the size of the set."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

from coupled_core.config import SplitConfig
from coupled_core.progress import current_progress
from coupled_core.records import PromptGroup, SplitOutcome
from coupled_core.splitting.llm.batches import BatchTransport
from coupled_core.splitting.llm.client import check_key
from coupled_core.splitting.llm.dialogue import Dialogue, OnSettled, Patience, Session
from coupled_core.splitting.llm.online import OnlineTransport
from coupled_core.splitting.llm.request import request_sha256, splitter_identity
from coupled_core.splitting.llm.spending import check_cap, price_of
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.storage.store import open_store

_BATCH_FROM = 1000
"""Open groups from which on "auto" prefers half the price to an answer within seconds."""
_MAX_PREPARED = 4096
"""Outcomes of `prepare` that wait in memory for `split`; those of a larger set are read again."""
_READ_THREADS = 16
_DEFAULT_CACHE = Path("~/.cache/coupled-images/split-answers")


class LlmSplitter:
    """Splits by one question a group, and one more where the answer does not pass the checks."""

    def __init__(
        self, config: SplitConfig, account: str | None = None, patience: Patience | None = None
    ) -> None:
        """Check what can be checked without a request.

        Args:
            config: Settings.
            account: Whose money is spent, such as a run; None: an account of this object's own.
            patience: How long other processes and the API's batches are waited for.

        Raises:
            ConfigError: there is no API key, no cap on spending, or no price for the model.
        """
        check_key()
        check_cap(config)
        store = open_store(config.cache_uri or _DEFAULT_CACHE.expanduser())
        account, patience = account or uuid.uuid4().hex, patience or Patience()
        self.session = Session(config, store, account, price_of(config), patience)
        self._config = config
        self._prepared: dict[tuple[str, str], SplitOutcome] = {}

    @property
    def identity(self) -> str:
        """Model and version of the instruction."""
        return splitter_identity(self._config)

    def request_sha256(self, group: PromptGroup) -> str:
        """Return the hash of what the model is asked about a group."""
        return request_sha256(self._config, group)

    def split(self, groups: Sequence[PromptGroup]) -> list[SplitOutcome]:
        """Return a split or a rejection for each group, in order; asks for what is missing.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        dialogues = [Dialogue(self.session, group) for group in groups]
        for dialogue in dialogues:
            dialogue.outcome = self._prepared.pop(_name(dialogue), None)

        def read_open() -> list[Dialogue]:
            return [dialogue for dialogue in dialogues if dialogue.outcome is None]

        if self._config.transport != "batch":
            self._ask_online(read_open())
        elif list(_look_up(read_open())):  # batches are listed only where something is open
            BatchTransport(self.session).settle(read_open, len(groups))
        return [_outcome_of(dialogue) for dialogue in dialogues]

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Ask about a whole set, so that `split` finds every answer in the cache.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        current_progress().begin("split", num_groups)
        settled = bytearray()  # a byte a group is all that is remembered of a large set

        def read_open() -> Iterator[Dialogue]:
            for place, group in enumerate(read_groups()):
                if place == len(settled):
                    settled.append(False)
                if not settled[place]:
                    yield Dialogue(self.session, group, place)

        def note(dialogue: Dialogue) -> None:
            settled[dialogue.place] = True
            if dialogue.outcome is not None and len(self._prepared) < _MAX_PREPARED:
                self._prepared[_name(dialogue)] = dialogue.outcome
            current_progress().advance("split")

        if self._config.transport == "online":
            self._ask_online(read_open(), note)
            return
        batches = BatchTransport(self.session)
        if self._config.transport == "auto":
            first = list(islice(_look_up(read_open(), note), _BATCH_FROM))
            is_small = len(first) < _BATCH_FROM
            if is_small and not batches.waits_for(dialogue.request for dialogue in first):
                self._ask_online(first, note)
                return
        batches.settle(read_open, num_groups, note)

    def _ask_online(
        self, dialogues: Iterable[Dialogue], on_settled: OnSettled = lambda _: None
    ) -> None:
        for dialogue in self._online.settle(dialogues):
            on_settled(dialogue)

    @cached_property
    def _online(self) -> OnlineTransport:
        return OnlineTransport(self.session)


def _look_up(
    dialogues: Iterable[Dialogue], on_settled: OnSettled = lambda _: None
) -> Iterator[Dialogue]:
    """Yield the dialogues of which the cache does not have the end."""
    for dialogue in map_in_threads(Dialogue.read, dialogues, _READ_THREADS):
        if dialogue.outcome is None:
            yield dialogue
        else:
            on_settled(dialogue)


def _name(dialogue: Dialogue) -> tuple[str, str]:
    return dialogue.group.group_id, dialogue.request_sha256


def _outcome_of(dialogue: Dialogue) -> SplitOutcome:
    assert dialogue.outcome is not None, "no transport leaves a dialogue open"
    return dialogue.outcome
