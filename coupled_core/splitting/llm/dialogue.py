"""What is asked and answered about one group, and what all who ask for one run share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from coupled_core.config import ModelPrice, SplitConfig
from coupled_core.records import GroupSplit, PromptGroup, Rejection, RejectReason, SplitOutcome
from coupled_core.splitting.llm.answers import AnswerCache, StoredAnswer
from coupled_core.splitting.llm.checks import find_problems, take_instructions
from coupled_core.splitting.llm.claims import Lease
from coupled_core.splitting.llm.client import open_client, quote
from coupled_core.splitting.llm.request import Answer, build_repair, build_request
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:
    from anthropic import Anthropic

_MAX_ATTEMPTS = 2
"""The first question and one repair."""
_MAX_PROBLEMS = 8


@dataclass(frozen=True)
class Patience:
    """How long to wait for what; tests wait less."""

    first_poll_seconds: float = 1.0
    max_poll_seconds: float = 60.0
    look_after_seconds: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
    """Pauses before each look for a batch whose creation was not answered: lists may lag."""
    twin_seconds: float = 600.0
    """How long another process may need between announcing a batch and naming it."""
    lease: Lease = field(default_factory=Lease)
    """How questions that are asked online are claimed."""


@dataclass(frozen=True)
class Session:
    """Whose questions are asked, with what settings, and where the answers are kept."""

    config: SplitConfig
    store: ObjectStore
    account: str
    """Who pays, such as a run."""
    price: ModelPrice
    patience: Patience

    @cached_property
    def cache(self) -> AnswerCache:
        """The answers, as this account sees them."""
        return AnswerCache(self.store, self.account, is_refresh=self.config.refresh)

    @cached_property
    def client(self) -> "Anthropic":
        """The API; opened by whoever is the first to need it."""
        return open_client()


class Dialogue:
    """The answers about one group so far, and what follows: a request, or an outcome.

    An answer is judged when it is taken in, and not again.
    """

    def __init__(self, session: Session, group: PromptGroup, place: int = 0) -> None:
        """Begin with nothing answered.

        Args:
            session: Whose question it is.
            group: What it is about.
            place: Number of the group in its set.
        """
        self.group, self.place = group, place
        self.outcome: SplitOutcome | None = None
        """None: there is something to ask first."""
        self.request = build_request(session.config, group)
        """What is to be asked next; once there is an outcome, what was asked last."""
        self._session = session
        self._answers: list[StoredAnswer] = []

    @property
    def request_sha256(self) -> str:
        """Hash of the first question, by which it is claimed and its answers are found."""
        return self.request.key.request_sha256

    def read(self) -> Self:
        """Take in what the cache has of this dialogue, and return it."""
        while self.outcome is None:
            answer = self._session.cache.read(self.request.key)
            if answer is None:
                break
            self.take(answer)
        return self

    def take(self, answer: StoredAnswer) -> None:
        """Take in the answer to the request."""
        self._answers.append(answer)
        is_last = len(self._answers) == _MAX_ATTEMPTS
        result = _judge(answer, self.group.prompts, needs_instructions=not is_last)
        if isinstance(result, Answer):
            self.outcome = self._split(result)
        elif isinstance(result, Rejection):
            self.outcome = self._reject(result.reason, result.message)
        elif len(self._answers) < _MAX_ATTEMPTS:
            self.request = build_repair(self.request, answer.text, result)
        else:
            why = "the answer was wrong, and again after it was told why"
            self.outcome = self._reject(RejectReason.SPLIT_FAILED, f"{why}: {'; '.join(result)}")

    def _split(self, answer: Answer) -> GroupSplit:
        # The last answer is the split; what the one before it cost was spent on it, too.
        paid, last = self._list_paid(), self._answers[-1]
        return GroupSplit(
            background_prompt=answer.background_prompt.strip(),
            entity_prompts=tuple(entity.strip() for entity in answer.entity_prompts),
            edit_instructions=take_instructions(answer, self.group.prompts),
            variation_kind=self.group.variation_kind or answer.variation_kind,
            source=paid[-1].transport if paid else "cache",
            request_sha256=self.request_sha256,
            model=last.model,
            prompt_version=last.instruction_version,
            llm_cost_usd=sum(each.cost_usd for each in paid),
        )

    def _reject(self, reason: RejectReason, why: str) -> Rejection:
        cost_usd = sum(answer.cost_usd for answer in self._list_paid())
        return Rejection(reason, quote(f"{self._session.config.model}: {why}"), cost_usd)

    def _list_paid(self) -> list[StoredAnswer]:
        """Return the answers that this account bought for this group; others came for free."""
        mine = (self._session.account, self.group.group_id)
        return [answer for answer in self._answers if (answer.account, answer.group_id) == mine]


OnSettled = Callable[[Dialogue], None]
"""Told of each dialogue that has got its outcome."""


def _judge(
    answer: StoredAnswer, prompts: Sequence[str], *, needs_instructions: bool
) -> Answer | Rejection | list[str]:
    """Return a usable answer, why there will be none, or what to have repaired."""
    failed = RejectReason.SPLIT_FAILED
    if answer.error is not None:
        return Rejection(failed, f"the API does not take the request: {answer.error}")
    if answer.stop_reason == "refusal":
        return Rejection(failed, f"it refused to answer ({answer.stop_details or 'no reason'})")
    if answer.stop_reason in ("max_tokens", "model_context_window_exceeded"):
        return [f"the answer broke off after {answer.output_tokens} tokens: be briefer"]
    try:
        parsed = Answer.model_validate_json(answer.text)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        named = [f"{'.'.join(map(str, p['loc'])) or 'answer'}: {p['msg']}" for p in problems]
        return named[:_MAX_PROBLEMS]
    if parsed.flagged:
        return Rejection(RejectReason.UNSAFE, f"flagged: {parsed.flag_reason or 'no reason'}")
    if not parsed.shares_background:
        return Rejection(failed, "the prompts share no background")
    found = find_problems(parsed, prompts, needs_instructions=needs_instructions)
    return found[:_MAX_PROBLEMS] or parsed
