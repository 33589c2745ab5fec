"""What is asked and answered about one subject, and what all who ask for one run share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Protocol, Self, TypeVar

from coupled_core.config import LlmConfig, ModelPrice
from coupled_core.llm.answers import AnswerCache, Asked, StoredAnswer, Transport
from coupled_core.llm.client import Api
from coupled_core.llm.question import Question
from coupled_core.storage.leases import LeaseTimes
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class Patience:
    """How long to wait for what; tests wait less."""

    answer_seconds: float = 600.0
    """The most that an answer may take in all, from connecting to its last byte."""
    first_backoff_seconds: float = 0.5
    first_poll_seconds: float = 1.0
    max_poll_seconds: float = 60.0
    look_after_seconds: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
    """Pauses before each look for a batch whose creation was not answered: lists may lag."""
    twin_seconds: float = 600.0
    """How long another process may need between announcing a batch and naming it."""
    lease: LeaseTimes = field(default_factory=LeaseTimes)
    """How questions that are asked online are leased."""


@dataclass(frozen=True)
class Session:
    """Whose questions are asked, with what settings, and where the answers are kept."""

    config: LlmConfig
    store: ObjectStore
    account: str
    """Who pays, such as a run."""
    price: ModelPrice
    patience: Patience
    stage: str
    """Under which name progress is told."""

    @cached_property
    def cache(self) -> AnswerCache:
        """The answers, as this account sees them."""
        return AnswerCache(self.store, self.account, is_refresh=self.config.refresh)

    @cached_property
    def api(self) -> Api:
        """The API; opened by whoever is the first to need it."""
        return Api(self.patience.answer_seconds)

    def ask_by(self, transport: Transport, question: Question) -> Asked:
        """Return what is noted about how a question is asked."""
        return Asked(self.account, transport, self.config.model, question.version)


R = TypeVar("R")


class Subject(Protocol[R]):
    """What questions are about: all that a kind of question has to bring along."""

    @property
    def first_question(self) -> Question:
        """The first question about it."""

    def judge(self, dialogue: "Dialogue[R]") -> Question | R:
        """Judge the answers so far; return the question that follows up, or the outcome.

        A second answer has to do: there is no third question.
        """


class Dialogue(Generic[R]):
    """The answers about one subject so far, and what follows: a question, or an outcome.

    An answer is judged when it is taken in, and not again.
    """

    def __init__(self, session: Session, subject: Subject[R], place: int = 0) -> None:
        """Begin with nothing answered; `place` is the number of the subject among its like."""
        self.subject, self.place = subject, place
        self.outcome: R | None = None
        """None: there is something to ask first."""
        self.question = subject.first_question
        """What is to be asked next; once there is an outcome, what was asked last."""
        self.answers: list[StoredAnswer] = []
        self._session = session

    @property
    def request_sha256(self) -> str:
        """Hash of the first question, by which it is leased and its answers are found."""
        return self.question.key.request_sha256

    @property
    def paid(self) -> list[StoredAnswer]:
        """The answers that this account bought for this subject; others came for free."""
        # Two equal groups of a run share one answer, and it is the cost of the one that asked.
        mine = (self._session.account, self.question.key.subject_id)
        return [each for each in self.answers if (each.account, each.subject_id) == mine]

    def read(self) -> Self:
        """Take in what the cache has of this dialogue, and return it."""
        while self.outcome is None:
            answer = self._session.cache.read(self.question.key)
            if answer is None:
                break
            self.take(answer)
        return self

    def take(self, answer: StoredAnswer) -> None:
        """Take in the answer to the question."""
        self.answers.append(answer)
        follows = self.subject.judge(self)
        if isinstance(follows, Question):
            assert follows.key.attempt == len(self.answers) == 1, "there is no third question"
            self.question = follows
        else:
            self.outcome = follows
