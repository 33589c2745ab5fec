"""The one place that asks: over whichever transport suits the number of questions."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TypeVar

from coupled_core.config import LlmConfig
from coupled_core.llm.batches import BatchTransport
from coupled_core.llm.client import check_environment
from coupled_core.llm.dialogue import Dialogue, Patience, Session, Subject
from coupled_core.llm.online import OnlineTransport
from coupled_core.llm.spending import check_cap, price_of, thinking_of
from coupled_core.llm.threads import map_in_threads
from coupled_core.storage.store import ObjectStore

R = TypeVar("R")
_BATCH_FROM = 1000
"""Open questions from which on "auto" prefers half the price to an answer within seconds."""
_READ_THREADS = 16


class Asker:
    """Asks a model about subjects of any kind; what was answered once is not asked again."""

    def __init__(
        self,
        config: LlmConfig,
        store: ObjectStore,
        stage: str,
        account: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Check what can be checked without a request.

        Args:
            store: Where the answers are kept.
            stage: Under which name progress is told.
            account: Whose money is spent, such as a run; None: an account of this object's own.
            patience: How long other processes and the API's batches are waited for.

        Raises:
            ConfigError: there is no usable API key or address, no cap on spending, no price for the
                model, or it does not think as it shall.
        """
        check_environment()
        check_cap(config)
        thinking_of(config)
        account, patience = account or uuid.uuid4().hex, patience or Patience()
        self.session = Session(config, store, account, price_of(config), patience, stage)

    def ask(self, subjects: Sequence[Subject[R]]) -> list[R]:
        """Return the outcome for each subject, in order; asks for what is missing.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        dialogues = [Dialogue(self.session, subject) for subject in subjects]

        def read_open() -> list[Dialogue[R]]:
            return [dialogue for dialogue in dialogues if dialogue.outcome is None]

        if self.session.config.transport != "batch":
            self._ask_online(dialogues)
        elif list(_look_up(dialogues)):  # batches are listed only where something is open
            BatchTransport(self.session).settle(read_open, len(dialogues), lambda _: None)
        return [_outcome_of(dialogue) for dialogue in dialogues]

    def ask_all(
        self,
        read_subjects: Callable[[], Iterable[Subject[R]]],
        num_subjects: int,
        on_settled: Callable[[Subject[R], R], None],
    ) -> None:
        """Ask about any number of subjects in bounded memory.

        Args:
            read_subjects: Yields them, the same each time it is called.
            on_settled: Told of each outcome, in no order.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        settled = bytearray()  # a byte a subject is all that is remembered of a large set

        def read_open() -> Iterator[Dialogue[R]]:
            for place, subject in enumerate(read_subjects()):
                # The reader yields the same subjects in the same order each time, so a place names
                # one.
                if place == len(settled):
                    settled.append(False)
                if not settled[place]:
                    yield Dialogue(self.session, subject, place)

        def note(dialogue: Dialogue[R]) -> None:
            settled[dialogue.place] = True
            on_settled(dialogue.subject, _outcome_of(dialogue))

        transport = self.session.config.transport
        if transport == "online":
            self._ask_online(read_open(), note)
            return
        batches = BatchTransport(self.session)
        if transport == "auto":
            # Looks no further than it must to know that there are enough.
            first = list(islice(_look_up(read_open(), note), _BATCH_FROM))
            is_small = len(first) < _BATCH_FROM
            if is_small and not batches.waits_for(dialogue.question for dialogue in first):
                self._ask_online(first, note)
                return
        batches.settle(read_open, num_subjects, note)

    def _ask_online(
        self,
        dialogues: Iterable[Dialogue[R]],
        on_settled: Callable[[Dialogue[R]], None] = lambda _: None,
    ) -> None:
        for dialogue in self._online.settle(dialogues):
            on_settled(dialogue)

    @cached_property
    def _online(self) -> OnlineTransport:
        return OnlineTransport(self.session)


def _look_up(
    dialogues: Iterable[Dialogue[R]],
    on_settled: Callable[[Dialogue[R]], None] = lambda _: None,
) -> Iterator[Dialogue[R]]:
    """Yield the dialogues of which the cache does not have the end."""
    read: Callable[[Dialogue[R]], Dialogue[R]] = Dialogue.read
    for dialogue in map_in_threads(read, dialogues, _READ_THREADS):
        if dialogue.outcome is None:
            yield dialogue
        else:
            on_settled(dialogue)


def _outcome_of(dialogue: Dialogue[R]) -> R:
    assert dialogue.outcome is not None, "no transport leaves a dialogue open"
    return dialogue.outcome
