"""Answers of the model: how they are kept, and the cache that runs and workers share.

What was paid for is stored whole, before anybody interprets it.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ConfigDict, ValidationError

from coupled_core.config import ModelPrice
from coupled_core.errors import ConflictError, NotFoundError, StorageError
from coupled_core.id_set import IdSet
from coupled_core.splitting.llm.request import INSTRUCTION_VERSION, RequestKey
from coupled_core.splitting.llm.spending import cost_usd
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:  # takes seconds to import
    from anthropic.types import Message

Transport = Literal["online", "batch"]


class StoredAnswer(RequestKey):
    """The outcome of one paid request, or of one that the API will not take.

    Whether it is a good split is not stored: checks run on every reading, so that stricter ones
    also reach answers from before.
    """

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

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
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    message_id: str | None = None
    error: str | None = None
    """Why the API did not take the request; nothing was paid."""
    created_at: datetime

    @classmethod
    def of_message(
        cls,
        key: RequestKey,
        message: "Message",
        price: ModelPrice,
        account: str,
        transport: Transport,
    ) -> Self:
        """Keep what the API answered."""
        usage, details = message.usage, message.stop_details
        # All input is counted in full: no prompt caching is asked for.
        cached = usage.cache_creation_input_tokens, usage.cache_read_input_tokens
        input_tokens = usage.input_tokens + sum(tokens or 0 for tokens in cached)
        is_batch = transport == "batch"
        return cls(
            **key.model_dump(),
            account=account,
            transport=transport,
            model=message.model,
            instruction_version=INSTRUCTION_VERSION,
            stop_reason=message.stop_reason,
            stop_details="" if details is None else f"{details.category}: {details.explanation}",
            text="".join(block.text for block in message.content if block.type == "text"),
            input_tokens=input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=cost_usd(price, input_tokens, usage.output_tokens, is_batch=is_batch),
            message_id=message.id,
            created_at=datetime.now(UTC),
        )

    @classmethod
    def of_invalid(
        cls, key: RequestKey, error: str, model: str, account: str, transport: Transport
    ) -> Self:
        """Keep that the API finds a request invalid, and what it said."""
        return cls(
            **key.model_dump(),
            account=account,
            transport=transport,
            model=model,
            instruction_version=INSTRUCTION_VERSION,
            error=error,
            created_at=datetime.now(UTC),
        )


_ANSWERS, _SUFFIX = "answers/", ".json"


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
        except ValidationError as error:
            raise StorageError(
                f"{self._store.uri}/{key} is damaged: delete it to have its group asked again"
            ) from error
        if answer.account == self._account:
            return answer
        # Somebody else's invalid request cost nothing and may be valid by now.
        return None if self._is_refresh or answer.error is not None else answer

    def add(self, answer: StoredAnswer) -> StoredAnswer:
        """Store an answer durably and return the one that counts: the first that was stored."""
        key, data = _store_key(answer), answer.model_dump_json(indent=1).encode()
        try:
            self._store.write_if_absent(key, data)
        except ConflictError:
            there = self.read(answer)
            if there is not None:
                return there
            self._store.write(key, data)
        return answer


def list_answered(store: ObjectStore, max_objects: int | None = None) -> IdSet | None:
    """Return the beginnings of all request hashes that have an answer, whoever paid for it.

    Args:
        store: The cache's store.
        max_objects: The most to list. None: all.

    Returns:
        `answered_id` of each request; None: there are more objects than that.
    """
    answered = IdSet()
    for number, info in enumerate(store.list(_ANSWERS)):
        if number == max_objects:
            return None
        name = info.key.rpartition("/")[2]
        sha256 = name.removesuffix(_SUFFIX)
        if name != sha256 and "." not in sha256:  # the answer to a repair question adds nothing
            answered.add(bytes.fromhex(answered_id(sha256)))
    return answered


def answered_id(request_sha256: str) -> str:
    """Return what stands for a request in `list_answered`: one in 2**128 is taken for another."""
    return request_sha256[:32]


def _store_key(request: RequestKey) -> str:
    repair = "" if request.attempt == 0 else ".repair"
    sha256 = request.request_sha256
    return f"{_ANSWERS}{sha256[:2]}/{sha256}{repair}{_SUFFIX}"
