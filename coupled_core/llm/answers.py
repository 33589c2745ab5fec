"""Answers of the model: how they are kept, and the cache that runs and workers share.

What was paid for is stored whole, before anybody interprets it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import ConfigDict, Field, ValidationError

from coupled_core.config import ModelPrice
from coupled_core.errors import ConflictError, NotFoundError, StorageError
from coupled_core.id_set import IdSet
from coupled_core.llm.question import Bounds, RequestKey
from coupled_core.llm.reading import read_message
from coupled_core.llm.spending import cost_usd
from coupled_core.storage.store import ObjectStore

Transport = Literal["online", "batch"]
_MAX_TOKENS, _MAX_USD = 10**9, 1e6
"""More stands on no bill for one answer."""


@dataclass(frozen=True)
class Asked:
    """Who asked which model, how, and in which words."""

    account: str
    """Who pays."""
    transport: Transport
    model: str
    instruction_version: str


class StoredAnswer(RequestKey):
    """The outcome of one paid request, or of one that the API will not take.

    Whether it is a good answer is not stored: it is judged on every reading, so that stricter
    checks also reach answers from before.
    """

    model_config = ConfigDict(extra="ignore", protected_namespaces=(), allow_inf_nan=False)

    account: str
    """Who paid."""
    transport: Transport
    model: str
    instruction_version: str
    stop_reason: str | None = None
    """As in the API: end_turn, max_tokens, refusal; None: there is no answer, see `error`."""
    stop_details: str = ""
    """What the API says about a refusal."""
    text: str = ""
    input_tokens: int = Field(default=0, ge=0, le=_MAX_TOKENS)
    output_tokens: int = Field(default=0, ge=0, le=_MAX_TOKENS)
    cost_usd: float = Field(default=0.0, ge=0.0, le=_MAX_USD)
    message_id: str | None = None
    error: str | None = None
    """Why the API did not take the request; nothing was paid."""
    problem: str | None = None
    """What was wrong with the answer's form; cost and tokens may then be the worst case."""
    created_at: datetime

    @classmethod
    def of_message(
        cls,
        key: RequestKey,
        asked: Asked,
        document: object,
        bounds: Bounds,
        price: ModelPrice,
    ) -> Self:
        """Keep what the API answered, as far as it can be read.

        Raises:
            UnreadableError: it is no answer.
        """
        message = read_message(document, asked.model, bounds)
        worst = bounds.max_input_tokens, bounds.max_output_tokens
        input_tokens, output_tokens = message.tokens or worst
        is_batch = asked.transport == "batch"
        return cls(
            **key.model_dump(),
            **vars(asked) | {"model": message.model},
            stop_reason=message.stop_reason,
            stop_details=message.stop_details,
            text=message.text,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=cost_usd(price, input_tokens, output_tokens, is_batch=is_batch),
            message_id=message.message_id,
            problem="; ".join(message.problems) or None,
            created_at=datetime.now(UTC),
        )

    @classmethod
    def of_invalid(cls, key: RequestKey, asked: Asked, error: str) -> Self:
        """Keep that the API finds a request invalid, and what it said."""
        created_at = datetime.now(UTC)
        return cls(**key.model_dump(), **vars(asked), error=error, created_at=created_at)

    def to_json(self) -> bytes:
        """Return the record of an answer; only one with a problem says so."""
        usual = {"problem"} if self.problem is None else None
        return self.model_dump_json(indent=1, exclude=usual).encode()


_ANSWERS, _SUFFIX = "answers/", ".json"
_FIRST_ANSWER = re.compile(rf"([0-9a-f]{{64}}){re.escape(_SUFFIX)}")


class AnswerCache:
    """One object an answer below `answers/`; the key is a hash, no text becomes part of it.

    What is there stays: of two writers the first wins and the second learns what it wrote.
    """

    def __init__(self, store: ObjectStore, account: str, *, is_refresh: bool = False) -> None:
        """Open a cache for who pays; a refresh replaces what others paid for, and never sees it."""
        self._store, self._account, self._is_refresh = store, account, is_refresh

    def read(self, request: RequestKey) -> StoredAnswer | None:
        """Return an answer; None: nobody has paid for it yet, or it shall be asked for again.

        Raises:
            StorageError: it is damaged.
        """
        key = _store_key(request)
        try:
            answer = StoredAnswer.model_validate_json(self._store.read(key))
        except NotFoundError:
            return None
        except ValidationError:
            answer = None
        # An object that was copied to another key answers another question.
        if answer is None or answer.custom_id != request.custom_id:
            raise StorageError(
                f"{self._store.uri}/{key} is damaged: delete it to have its question asked again"
            )
        if answer.account == self._account:
            return answer
        # Somebody else's invalid request cost nothing and may be valid by now.
        return None if self._is_refresh or answer.error is not None else answer

    def add(self, answer: StoredAnswer) -> StoredAnswer:
        """Store an answer durably and return the one that counts: the first that was stored."""
        key, data = _store_key(answer), answer.to_json()
        try:
            self._store.write_if_absent(key, data)
        except ConflictError:
            # What is there does not count for us (a refresh, or somebody's invalid request): ours
            # takes its place.
            there = self.read(answer)
            if there is not None:
                return there
            self._store.write(key, data)
        return answer


def list_answered(store: ObjectStore, max_objects: int | None = None) -> IdSet | None:
    """Return the beginnings of all request hashes that have an answer, whoever paid for it.

    Args:
        max_objects: The most to list. None: all.

    Returns:
        `answered_id` of each request; None: there are more objects than that.
    """
    answered = IdSet()
    for number, info in enumerate(store.list(_ANSWERS)):
        if number == max_objects:
            return None
        # The answer to a question that follows up adds nothing.
        if named := _FIRST_ANSWER.fullmatch(info.key.rpartition("/")[2]):
            answered.add(bytes.fromhex(answered_id(named[1])))
    return answered


def answered_id(request_sha256: str) -> str:
    """Return what stands for a request in `list_answered`: one in 2**128 is taken for another."""
    return request_sha256[:32]


def _store_key(request: RequestKey) -> str:
    repair = "" if request.attempt == 0 else ".repair"
    sha256 = request.request_sha256
    # In 256 folders, since one folder with a million files is slow on a disk.
    return f"{_ANSWERS}{sha256[:2]}/{sha256}{repair}{_SUFFIX}"
