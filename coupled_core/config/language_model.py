"""How a language model is asked, and what it costs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field, field_validator

from coupled_core.config.base import Settings, fingerprint, refuse_credentials


class ModelPrice(Settings):
    """What a language model costs, in USD per million tokens."""

    input_usd: float = Field(ge=0.0)
    """Price of the tokens that the model reads."""
    output_usd: float = Field(ge=0.0)
    """Price of the tokens that the model writes."""
    batch_factor: float = Field(default=0.5, ge=0.0)
    """What both prices are multiplied by where requests go through Message Batches."""


DEFAULT_PRICES: Mapping[str, ModelPrice] = MappingProxyType(
    {
        "claude-haiku-5-5": ModelPrice(input_usd=0.10, output_usd=0.50),
        "claude-haiku-4-5": ModelPrice(input_usd=1.00, output_usd=5.00),
        "claude-sonnet-5-5": ModelPrice(input_usd=2.00, output_usd=10.00),
        "claude-sonnet-5": ModelPrice(input_usd=2.00, output_usd=10.00),
        "claude-opus-5-5": ModelPrice(input_usd=4.00, output_usd=20.00),
        "claude-opus-5": ModelPrice(input_usd=5.00, output_usd=25.00),
    }
)
"""List prices of November 2026 for prompts of ordinary length."""


Thinking = Literal["auto", "disabled", "between_tools", "adaptive"]
THINKING: Mapping[str, tuple[Thinking, ...]] = MappingProxyType(
    {
        "claude-haiku-5-5": ("disabled", "adaptive"),
        "claude-haiku-4-5": ("disabled",),
        "claude-sonnet-5-5": ("between_tools", "adaptive"),
        "claude-sonnet-5": ("disabled", "adaptive"),
        "claude-opus-5-5": ("adaptive",),
        "claude-opus-5": ("disabled", "adaptive"),
    }
)
"""What models take for `thinking`, the least first; of other models it is not known."""


class LlmConfig(Settings):
    """How a language model is asked, whatever about. The API key is never a setting."""

    model: str = "claude-haiku-5-5"
    """Model of the Anthropic API."""
    thinking: Thinking = "auto"
    """How much the model thinks first; thoughts are paid as output. auto: as little as the model
    takes."""
    transport: Literal["auto", "online", "batch"] = "auto"
    """online: seconds. batch: half the price, up to 24 hours. auto: batch from 1000 open groups
    on."""
    batch_size: int = Field(default=10_000, ge=1, le=100_000)
    """Most requests in one batch of the API; bounds memory as well."""
    max_concurrency: int = Field(default=16, ge=1, le=512)
    """Most online requests at a time."""
    max_requests_per_minute: float | None = Field(default=None, gt=0.0)
    """Most online requests a minute. Default: as fast as the API's own limit lets us."""
    cache_uri: str | None = None
    """Answers that are paid for: a folder or s3:// prefix that runs and workers share. Default:
    split-answers in the dataset."""
    max_llm_usd: float | None = Field(default=None, ge=0.0)
    """Stop before the run, all its attempts together, can have spent more USD on the model; what is
    answered is kept. A language model is asked only with this limit, or with no_cap."""
    no_cap: bool = False
    """Ask a language model without a limit on what it may cost."""
    refresh: bool = False
    """Ask again where another run has an answer, and replace it."""
    prices: Mapping[str, ModelPrice] = Field(default_factory=lambda: dict(DEFAULT_PRICES))
    """Prices by model, in USD per million tokens; models that are not named keep their list
    price."""

    @property
    def least_thinking(self) -> Thinking:
        """What "auto" means: the least that the model takes; not checked where it is another."""
        return (
            THINKING.get(self.model, ("disabled",))[0] if self.thinking == "auto" else self.thinking
        )

    @field_validator("cache_uri")
    @classmethod
    def _check_cache(cls, uri: str | None) -> str | None:
        return uri and refuse_credentials(uri)

    @field_validator("prices")
    @classmethod
    def _keep_list_prices(cls, given: Mapping[str, ModelPrice]) -> Mapping[str, ModelPrice]:
        return {**DEFAULT_PRICES, **given}

    def __hash__(self) -> int:
        return hash(fingerprint(self))  # the price table is a dictionary
