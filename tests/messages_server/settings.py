"""How the loopback server behaves; given at the start, changed while it runs at POST /_settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

API_KEY = "sk-ant-loopback-0123456789-not-a-credential"
"""The server takes any key; this one is easy to search for where it must not appear."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be scripted for the server as a whole; prompts script the rest."""

    requests_per_minute: float = 0.0
    """Bound on POST /v1/messages; beyond it 429 with retry-after. 0: none."""
    burst: int = 1
    """Requests that may come at once before that bound is felt."""
    answer_seconds: float = 0.0
    """How long an online answer takes."""
    batch_seconds: float = 0.0
    """How long a batch is in progress; the first poll may already see it ended."""
    batch_not_found: int = 0
    """How many reads of each new batch answer 404 first."""
    lost_creates: int = 0
    """How many of the next batches are created while their response is lost on the way."""
    expired_batches: int = 0
    """How many of the next batches expire as a whole."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of requests, by fault name, that get the fault without a marker; drawn by hash."""
    raw: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Responses to send as they are, by kind of request; see `raw.RawReplies`."""
    seed: int = 0
    """Seed of those draws, and of the order of results."""

    def updated(self, changes: Mapping[str, Any]) -> "Settings":
        """Return settings with some fields changed; a wrong name is a TypeError."""
        return replace(self, **changes)
