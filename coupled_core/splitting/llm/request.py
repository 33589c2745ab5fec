"""One request a group: its identity, and what goes over the wire."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from coupled_core.config import SplitConfig, fingerprint
from coupled_core.records import PromptGroup
from coupled_core.splitting.llm.answer import answer_schema
from coupled_core.splitting.llm.instruction import (
    INSTRUCTION,
    INSTRUCTION_VERSION,
    write_data,
    write_repair,
)

_THINKING_TOKENS = 4096
_BYTES_AROUND_A_ROW = 200
"""Of a batch: custom_id, braces, commas."""
_HIDDEN_TOKENS = 600
"""What the API may add to a prompt to make the model keep to a schema; generous."""


@dataclass(frozen=True)
class LlmRequest:
    """A question to the model about one group: the first, or the repair of a bad answer."""

    request_sha256: str
    """Of the first question; both attempts at a group share it."""
    attempt: int
    """0, or 1 for the repair."""
    group_id: str
    params: dict[str, Any]
    """Of POST /v1/messages, the same over both transports."""

    @property
    def custom_id(self) -> str:
        """The name of this request in a batch: 64 hex digits, as many as the API allows."""
        return name_row(self.request_sha256, self.attempt)

    @property
    def size_bytes(self) -> int:
        """The size of its row in a batch, an upper bound."""
        return len(json.dumps(self.params)) + _BYTES_AROUND_A_ROW

    @property
    def max_input_tokens(self) -> int:
        """A bound of what is paid for input: no token is shorter than a byte of UTF-8."""
        return len(json.dumps(self.params, ensure_ascii=False).encode()) + _HIDDEN_TOKENS

    @property
    def max_output_tokens(self) -> int:
        """The bound of what is paid for output, thoughts included."""
        return int(self.params["max_tokens"])


def splitter_identity(config: SplitConfig) -> str:
    """Name the model and how it is asked."""
    thinking = "" if config.thinking == "disabled" else f"/{config.thinking}-thinking"
    return f"anthropic/{config.model}/instruction-{INSTRUCTION_VERSION}{thinking}"


def request_sha256(config: SplitConfig, group: PromptGroup) -> str:
    """Return the hash of model, instruction version and prompts; known before anybody is asked."""
    return fingerprint(
        {
            "splitter": splitter_identity(config),
            "prompts": list(group.prompts),
            "variation_kind": group.variation_kind,
        }
    )


def name_row(sha256: str, attempt: int) -> str:
    """Return the custom_id of an attempt at a request."""
    return sha256 if attempt == 0 else fingerprint({"request": sha256, "attempt": attempt})


def build_request(config: SplitConfig, group: PromptGroup) -> LlmRequest:
    """Return the first question about a group."""
    turns = [{"role": "user", "content": write_data(group.prompts, group.variation_kind)}]
    return LlmRequest(
        request_sha256(config, group), 0, group.group_id, _params(config, group.prompts, turns)
    )


def build_repair(
    config: SplitConfig, group: PromptGroup, answer_text: str, problems: Sequence[str]
) -> LlmRequest:
    """Return the second and last question: the answer, and what was wrong with it."""
    turns = [
        {"role": "user", "content": write_data(group.prompts, group.variation_kind)},
        {"role": "assistant", "content": answer_text.strip() or "(no text)"},
        {"role": "user", "content": write_repair(problems)},
    ]
    return LlmRequest(
        request_sha256(config, group), 1, group.group_id, _params(config, group.prompts, turns)
    )


def _params(
    config: SplitConfig, prompts: Sequence[str], turns: list[dict[str, str]]
) -> dict[str, Any]:
    thinks = config.thinking == "adaptive"
    return {
        "model": config.model,
        "max_tokens": _answer_tokens(prompts) + _THINKING_TOKENS * thinks,
        "system": INSTRUCTION,
        "messages": turns,
        "thinking": {"type": config.thinking},
        "output_config": {"format": {"type": "json_schema", "schema": _schema()}},
    }


def _answer_tokens(prompts: Sequence[str]) -> int:
    """Return what a complete answer needs at most: prompts once over, two sentences a pair."""
    num_pairs = len(prompts) * (len(prompts) - 1) // 2
    num_bytes = sum(len(prompt.encode()) for prompt in prompts)
    return 400 + num_bytes + num_pairs * (120 + num_bytes // len(prompts))


@cache
def _schema() -> dict[str, Any]:
    return answer_schema()
