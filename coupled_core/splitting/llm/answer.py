"""The form of an answer: what the API is told to produce, and what we parse it into again."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class PairInstructions(BaseModel):
    """How to turn one image of the group into another, and back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_0: int
    image_1: int
    edit_instruction: str
    inverse_instruction: str


class Answer(BaseModel):
    """A split as the model writes it. Bounds are checked later: the API does not enforce them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shares_background: bool
    background_prompt: str
    entity_prompts: tuple[str, ...]
    pairs: tuple[PairInstructions, ...]
    variation_kind: Literal["entity_swap", "pose", "position", "appearance"]
    flagged: bool
    flag_reason: str


def answer_schema() -> dict[str, Any]:
    """Return the JSON schema of `Answer` without what costs tokens and tells the model nothing."""
    schema: dict[str, Any] = _without_remarks(Answer.model_json_schema())
    return schema


def _without_remarks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_remarks(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_remark = {"title", "description"}
    return {
        name: _without_remarks(item)
        for name, item in value.items()
        if not (name in is_remark and isinstance(item, str))
    }
