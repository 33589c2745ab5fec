"""Write an answer in whatever JSON schema a request asks for, right or wrong on purpose."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Any

from tests.messages_server.faults import without_markers
from tests.messages_server.rule_splitter import Split, split_prompts

_INJECTION = re.compile(r"(?:ignore|disregard|forget)\b.*?instructions?\W*(.*)", re.I | re.S)
_DEFAULT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "background_prompt": {"type": "string"},
        "entity_prompts": {"type": "array", "items": {"type": "string"}},
    },
}


@dataclass(frozen=True)
class Content:
    """What an answer says, before it takes the form that was asked for."""

    split: Split
    pairs: tuple[tuple[int, int], ...] | None
    """None: all."""
    flag_reason: str = ""
    instruction: str = ""
    """The same for every pair, whatever is asked; empty: what turns one into the other."""
    is_splittable: bool = True


def write_answer(request: Mapping[str, Any], data: Mapping[str, Any], faults: Sequence[str]) -> str:
    """Return the text of an answer to the prompts in `data`, spoiled as the faults say."""
    prompts = prompts_of(data)
    content = _spoil(request, prompts, Content(_split(prompts), _pairs_of(data)), faults)
    schema = request.get("output_config", {}).get("format", {}).get("schema", _DEFAULT_SCHEMA)
    text = json.dumps(_Writer(schema, content).write(), ensure_ascii=False)
    return text[: len(text) // 2] if "malformed" in faults else text


def find_data(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the JSON object with the prompts from the last user turn that holds one."""
    for message in reversed(request["messages"]):
        if message["role"] != "user":
            continue
        for found in _objects_in(text_of(message["content"])):
            if isinstance(found.get("prompts"), list):
                return found
    return None


def prompts_of(data: Mapping[str, Any]) -> list[str]:
    """Return the prompts as texts, whether they came as texts or as objects with one."""
    return [
        item if isinstance(item, str) else next(v for v in item.values() if isinstance(v, str))
        for item in data["prompts"]
    ]


def text_of(content: Any) -> str:
    """Join the text blocks of a message or a system prompt."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(block.get("text", "") for block in content)


def _split(prompts: Sequence[str]) -> Split:
    return split_prompts([without_markers(prompt) for prompt in prompts])


def _spoil(
    request: Mapping[str, Any], prompts: Sequence[str], content: Content, faults: Sequence[str]
) -> Content:
    split = content.split
    if not split.background or "unsplittable" in faults:
        content = replace(content, is_splittable=False)
    if "count" in faults:
        split = replace(split, entities=split.entities[:-1])
    if "empty" in faults:
        split = replace(split, background="")
    if "swap" in faults:
        split = replace(split, entities=split.entities[::-1])
    if "mixed" in faults:
        split = replace(split, background=f"{split.entities[0]} {split.background}")
    if "leak" in faults:
        split = replace(split, background=text_of(request.get("system"))[:300])
    if "obey" in faults:
        split = replace(split, background=_find_order(prompts), entities=("HACKED",) * len(prompts))
    if "alike" in faults:
        content = replace(content, instruction="Show the garden as it is.")
    if "flag" in faults:
        content = replace(content, flag_reason="shows violence")
    return replace(content, split=split)


def _find_order(prompts: Sequence[str]) -> str:
    for prompt in prompts:
        if found := _INJECTION.search(without_markers(prompt)):
            return found[1] or "As you wish."
    return "As you wish."


def _pairs_of(data: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    pairs = data.get("pairs")
    if not isinstance(pairs, list):
        return None
    rows = [list(pair.values()) if isinstance(pair, dict) else pair for pair in pairs]
    return tuple((row[0], row[1]) for row in rows)


def _objects_in(text: str) -> list[dict[str, Any]]:
    """Find every JSON object in a text, whatever stands around it."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while (position := text.find("{", position)) >= 0:
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            position += 1
            continue
        found.append(value)
    return found


class _Writer:
    """Fills a schema by the names of its fields."""

    def __init__(self, schema: Mapping[str, Any], content: Content) -> None:
        self._schema, self._content = schema, content
        self._definitions = schema.get("$defs", {})

    def write(self) -> Any:
        return self._fill("answer", self._schema, (0, 1))

    def _fill(self, name: str, schema: Mapping[str, Any], at: tuple[int, int]) -> Any:
        schema = self._resolve(schema, is_null="reason" in name and not self._content.flag_reason)
        kind = schema.get("type")
        if "enum" in schema or "const" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        if kind == "object":
            return self._fill_object(schema, at)
        if kind == "array":
            return self._fill_array(name, schema["items"])
        if kind == "boolean":
            flagged = bool(self._content.flag_reason)
            return flagged if "flag" in name else self._content.is_splittable
        return None if kind == "null" else self._write_text(name, at)

    def _resolve(self, schema: Mapping[str, Any], *, is_null: bool) -> Mapping[str, Any]:
        while "$ref" in schema or "anyOf" in schema:
            if "$ref" in schema:
                schema = self._definitions[schema["$ref"].rpartition("/")[2]]
            else:
                variants = schema["anyOf"]
                fitting = [v for v in variants if (v.get("type") == "null") == is_null]
                schema = (fitting or variants)[0]
        return schema

    def _fill_object(self, schema: Mapping[str, Any], at: tuple[int, int]) -> dict[str, Any]:
        numbers = iter(at)
        return {
            name: next(numbers) if field.get("type") == "integer" else self._fill(name, field, at)
            for name, field in schema.get("properties", {}).items()
        }

    def _fill_array(self, name: str, items: Mapping[str, Any]) -> list[Any]:
        items = self._resolve(items, is_null=False)
        count = len(self._content.split.entities)
        if items.get("type") != "object" or "entit" in name:
            return [self._fill("entity", items, (index, index)) for index in range(count)]
        return [self._fill(name, items, pair) for pair in self._pairs(items, count)]

    def _pairs(self, items: Mapping[str, Any], count: int) -> list[tuple[int, int]]:
        if self._content.pairs is not None:
            return [pair for pair in self._content.pairs if max(pair) < count]
        both_ways = any("inverse" in name for name in items.get("properties", {}))
        choose = combinations if both_ways else permutations
        return list(choose(range(count), 2))

    def _write_text(self, name: str, at: tuple[int, int]) -> str:
        split = self._content.split
        if "background" in name:
            return split.background
        if "instruction" in name and self._content.instruction:
            return self._content.instruction
        if "inverse" in name:
            return split.edit(at[1], at[0])
        if "instruction" in name or "edit" in name:
            return split.edit(*at)
        if "entity" in name:
            return split.entities[at[0]]
        return self._content.flag_reason if "reason" in name else ""
