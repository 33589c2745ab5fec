"""Answers of the model: how they are kept, and the cache that runs and workers share.

What was paid for is stored whole, before anybody interprets it.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from coupled_core.config import ModelPrice
from coupled_core.errors import ConflictError, NotFoundError, StorageError
from coupled_core.splitting.llm.request import INSTRUCTION_VERSION
from coupled_core.splitting.llm.spending import cost_usd
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:  # takes seconds to import
    from anthropic.types import Message


class StoredAnswer(BaseModel):
    """The outcome of one paid request, or of one that the API will not take.

    Whether it is a good split is not stored: checks run on every reading, so that stricter ones
    also reach answers from before.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    request_sha256: str
    attempt: int
    """0, or 1 for the repair."""
    group_id: str
    """The group that it was asked for; others with the same prompts share it."""
    account: str
    """Who paid."""
    transport: Literal["online", "batch"]
    model: str
    instruction_version: str
    stop_reason: str | None
    """As in the API: end_turn, max_tokens, refusal; None: there is no answer, see `error`."""
    stop_details: str = ""
    """What the API says about a refusal."""
    text: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    message_id: str | None = None
    error: str | None = None
    """Why the API did not take the request; nothing was paid."""
    created_at: datetime

    @classmethod
    def parse(cls, data: bytes, where: str) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            StorageError: it is damaged.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise StorageError(
                f"{where} is damaged: delete it to have its group asked again"
            ) from error

    def to_bytes(self) -> bytes:
        """Return it as one JSON object."""
        return self.model_dump_json(indent=1).encode()


def keep_message(
    message: "Message",
    price: ModelPrice,
    *,
    request_sha256: str,
    attempt: int,
    group_id: str,
    account: str,
    transport: Literal["online", "batch"],
) -> StoredAnswer:
    """Return what is kept of an answer. Input counts in full: no prompt caching is asked for."""
    usage = message.usage
    input_tokens = (
        usage.input_tokens
        + (usage.cache_creation_input_tokens or 0)
        + (usage.cache_read_input_tokens or 0)
    )
    details = message.stop_details
    return StoredAnswer(
        request_sha256=request_sha256,
        attempt=attempt,
        group_id=group_id,
        account=account,
        transport=transport,
        model=message.model,
        instruction_version=INSTRUCTION_VERSION,
        stop_reason=message.stop_reason,
        stop_details="" if details is None else f"{details.category}: {details.explanation}",
        text="".join(block.text for block in message.content if block.type == "text"),
        input_tokens=input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=cost_usd(
            price,
            input_tokens=input_tokens,
            output_tokens=usage.output_tokens,
            is_batch=transport == "batch",
        ),
        message_id=message.id,
        created_at=datetime.now(UTC),
    )


def keep_invalid(error: str, **names: Any) -> StoredAnswer:
    """Return the record of a request that the API itself finds invalid.

    Args:
        error: What the API said.
        names: request_sha256, attempt, group_id, account, transport and model.
    """
    return StoredAnswer(
        **names,
        instruction_version=INSTRUCTION_VERSION,
        stop_reason=None,
        text="",
        input_tokens=0,
        output_tokens=0,
        cost_usd=0.0,
        error=error,
        created_at=datetime.now(UTC),
    )


_DIGITS = 16


class AnsweredRequests:
    """The beginnings of request hashes. It may say yes in error, never no."""

    def __init__(self, sha256s: Iterable[str]) -> None:
        """Take request hashes in ascending order, as stores list them."""
        self._prefixes = array("Q", (int(sha256[:_DIGITS], 16) for sha256 in sha256s))

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, sha256: str) -> bool:
        prefix = int(sha256[:_DIGITS], 16)
        at = bisect_left(self._prefixes, prefix)
        return at < len(self._prefixes) and self._prefixes[at] == prefix


_ANSWERS, _SUFFIX = "answers/", ".json"


class AnswerCache:
    """One object an answer below `answers/`; the key is a hash, no text becomes part of it.

    What is there stays: of two writers the first wins and the second learns what it wrote.
    """

    def __init__(self, store: ObjectStore, account: str, *, is_refresh: bool = False) -> None:
        """Open a cache.

        Args:
            store: Where it lies.
            account: Who pays for what is added.
            is_refresh: See only what this account paid for, and replace what others did.
        """
        self._store, self._account, self._is_refresh = store, account, is_refresh

    def read(self, request_sha256: str, attempt: int) -> StoredAnswer | None:
        """Return an answer; None: nobody has paid for it yet, or it shall be asked for again."""
        answer = self._read_any(_key(request_sha256, attempt))
        if answer is None or answer.account == self._account:
            return answer
        # Somebody else's invalid request cost nothing and may be valid by now.
        return None if self._is_refresh or answer.error is not None else answer

    def add(self, answer: StoredAnswer) -> StoredAnswer:
        """Store an answer durably and return the one that counts: the first that was stored."""
        key = _key(answer.request_sha256, answer.attempt)
        try:
            self._store.write_if_absent(key, answer.to_bytes())
            return answer
        except ConflictError:
            there = self.read(answer.request_sha256, answer.attempt)
        if there is not None:
            return there
        self._store.write(key, answer.to_bytes())
        return answer

    def list_answered(self, max_objects: int) -> AnsweredRequests | None:
        """Return which questions have an answer of anybody's; None: there are too many to list."""
        infos = self._store.list(_ANSWERS)
        answered = AnsweredRequests(
            name.removesuffix(_SUFFIX)
            for info in islice(infos, max_objects)
            if "." not in (name := info.key.rpartition("/")[2]).removesuffix(_SUFFIX)
        )
        return answered if next(infos, None) is None else None

    def _read_any(self, key: str) -> StoredAnswer | None:
        try:
            data = self._store.read(key)
        except NotFoundError:
            return None
        return StoredAnswer.parse(data, f"{self._store.uri}/{key}")


def _key(request_sha256: str, attempt: int) -> str:
    repair = "" if attempt == 0 else ".repair"
    return f"{_ANSWERS}{request_sha256[:2]}/{request_sha256}{repair}{_SUFFIX}"
