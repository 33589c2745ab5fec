"""What is asked, whatever it is about: the names, the request, and the most that it can cost."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from coupled_core.config import fingerprint

_BYTES_AROUND_A_ROW = 200
"""The custom_id, braces and commas of a row in a batch."""
_HIDDEN_TOKENS = 600
"""What the API may add to a prompt to make the model keep to a schema; generous."""


class RequestKey(BaseModel):
    """Names a request: all that is written down about one whose answer is still to come."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    request_sha256: str
    """Hash of the first question about a subject; a question that follows up on it shares it."""
    attempt: int = Field(ge=0)
    """0, or 1 for the question that follows up."""
    subject_id: str = Field(validation_alias="group_id", serialization_alias="group_id")
    """What it is asked about, such as a group of prompts; others that are equal share the answer.

    Records have always called it `group_id`.
    """

    @property
    def custom_id(self) -> str:
        """The name of the request in a batch: 64 hex digits, as many as the API allows."""
        if self.attempt == 0:
            return self.request_sha256
        # A hash again, as a suffix would make it longer than the API allows.
        return fingerprint({"request": self.request_sha256, "attempt": self.attempt})


class Bounds(BaseModel):
    """The most tokens that the answer to a question can be billed for.

    Whoever makes the question knows them: of a text they follow from its bytes, of an image from
    its size in pixels.
    """

    model_config = ConfigDict(frozen=True)

    # What the API takes at all, for batches that were recorded when bounds were not.
    max_input_tokens: int = Field(default=1_000_000, ge=0)
    max_output_tokens: int = Field(default=128_000, ge=0)
    """Thoughts included."""


@dataclass(frozen=True)
class Question:
    """One request to a model: the first about its subject, or one that follows up."""

    key: RequestKey
    params: Mapping[str, Any]
    """The body of POST /v1/messages, the same over both transports; it is never written down."""
    bounds: Bounds
    version: str
    """The instruction's, as it is noted with the answer."""

    @property
    def size_bytes(self) -> int:
        """The size of its row in a batch, an upper bound."""
        return len(json.dumps(self.params)) + _BYTES_AROUND_A_ROW


def bound_text(params: Mapping[str, Any]) -> Bounds:
    """Return the bounds of a question that is text alone: no token is shorter than a byte."""
    num_bytes = len(json.dumps(params, ensure_ascii=False).encode())
    return Bounds(
        max_input_tokens=num_bytes + _HIDDEN_TOKENS, max_output_tokens=int(params["max_tokens"])
    )
