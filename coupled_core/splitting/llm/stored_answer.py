"""An answer as it is kept: all of what was paid for, before anybody interprets it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from coupled_core.config import ModelPrice
from coupled_core.errors import StorageError
from coupled_core.splitting.llm.instruction import INSTRUCTION_VERSION
from coupled_core.splitting.llm.prices import cost_usd

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
