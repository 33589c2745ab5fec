"""What answers cost, and what a request can cost at most."""

from coupled_core.config import ModelPrice, SplitConfig
from coupled_core.errors import ConfigError
from coupled_core.splitting.llm.request import LlmRequest

_MILLION = 1_000_000


def price_of(config: SplitConfig) -> ModelPrice:
    """Return the price of the configured model.

    Raises:
        ConfigError: the table has none; without it no cap on spending would hold.
    """
    if config.model not in config.prices:
        known = ", ".join(sorted(config.prices))
        raise ConfigError(
            f"split.prices has no price for the model {config.model!r} (it has {known}): add "
            f'"{config.model}": {{"input_usd": ..., "output_usd": ...}}, USD per million tokens'
        )
    return config.prices[config.model]


def cost_usd(price: ModelPrice, *, input_tokens: int, output_tokens: int, is_batch: bool) -> float:
    """Return the price of an answer's tokens in USD."""
    factor = price.batch_factor if is_batch else 1.0
    plain = input_tokens * price.input_usd + output_tokens * price.output_usd
    return factor * plain / _MILLION


def max_cost_usd(price: ModelPrice, request: LlmRequest, *, is_batch: bool) -> float:
    """Return the most that the answer to a request can cost in USD."""
    return cost_usd(
        price,
        input_tokens=request.max_input_tokens,
        output_tokens=request.max_output_tokens,
        is_batch=is_batch,
    )
