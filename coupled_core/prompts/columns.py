"""Columns of a prompt set: which there are, in which form, and what becomes of the others.

A column is known, refused, or carried through to the manifest's `extra`. Those that are carried are
named to the user, with the known one that was perhaps meant.
"""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import pyarrow as pa
from pyarrow import types

from coupled_core.errors import PromptSetError

Form = Literal["wide", "long"]
KindCheck = Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    checks = (types.is_list, types.is_large_list, types.is_list_view, types.is_large_list_view)
    return any(is_list(kind) for is_list in checks)


def _is_texts(kind: pa.DataType) -> bool:
    is_list = _is_list(kind) or types.is_fixed_size_list(kind)
    return is_list and _is_text(kind.value_type)


def _is_integer(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind))


def _is_number(kind: pa.DataType) -> bool:
    """Accept doubles, too: writers without nullable integers, such as pandas, have no others."""
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_instructions(kind: pa.DataType) -> bool:
    if not _is_list(kind):
        return False
    entry = kind.value_type
    if not types.is_struct(entry) or {field.name for field in entry} != {
        "from",
        "to",
        "instruction",
    }:
        return False
    are_numbers = _is_integer(entry.field("from").type) and _is_integer(entry.field("to").type)
    return are_numbers and _is_text(entry.field("instruction").type)


@dataclass(frozen=True)
class Kind:
    """What a column holds, however a writer stores it."""

    name: str
    arrow_type: pa.DataType
    """The type that stands for it where a file says none, as CSV and JSON do."""
    is_right: KindCheck

    def holds(self, value: Any) -> bool:
        """Say whether a value that comes without a type is of this kind."""
        try:
            # Arrow's own reading of the value, so that text formats and Parquet are held to one
            # rule.
            return self.is_right(pa.array([value]).type)
        except (pa.ArrowException, OverflowError, ValueError):  # of several types, or of none
            return False


_TEXT = Kind("string", pa.string(), _is_text)
_TEXTS = Kind("list<string>", pa.list_(pa.string()), _is_texts)
_INTEGER = Kind("integer", pa.int64(), _is_number)
_INSTRUCTIONS = Kind(
    "list<struct<from: integer, to: integer, instruction: string>>",
    pa.list_(pa.struct({"from": pa.int64(), "to": pa.int64(), "instruction": pa.string()})),
    _is_instructions,
)

INTEGERS = ("seed", "num_seeds", "width", "height")
SETTINGS = (*INTEGERS, "variation_kind", "background_prompt")
"""Optional columns that hold one value a group."""
INSTRUCTIONS = {
    "edit_instruction": _TEXT,
    "inverse_instruction": _TEXT,
    "edit_instructions": _INSTRUCTIONS,
}
"""Optional columns of a group; with a row a prompt it is enough that one row has them."""
_OPTIONAL = {
    **dict(zip(SETTINGS, (*[_INTEGER] * 4, _TEXT, _TEXT), strict=True)),
    **INSTRUCTIONS,
}
_REQUIRED: dict[Form, dict[str, Kind]] = {
    "wide": {"group_id": _TEXT, "prompts": _TEXTS},
    "long": {"group_id": _TEXT, "prompt": _TEXT},
}
_PER_PROMPT: dict[Form, dict[str, Kind]] = {
    "wide": {"entity_prompts": _TEXTS},
    "long": {"entity_prompt": _TEXT},
}
KINDS: Mapping[str, Kind] = {
    name: kind
    for form in _REQUIRED
    for name, kind in {**_REQUIRED[form], **_OPTIONAL, **_PER_PROMPT[form]}.items()
}
"""Every column that means something in one of the forms."""
_PROMPTS: dict[Form, str] = {"wide": "prompts", "long": "prompt"}
_OF_OTHER_FORM: dict[Form, dict[str, str]] = {
    "wide": {"prompt": "prompts", "entity_prompt": "entity_prompts"},
    "long": {"entity_prompts": "entity_prompt"},
}
"""Columns that would be ignored in a form, and what they are called there."""


_OF_THE_RUN = (
    "base_model",
    "coupling_mode",
    "entity_text",
    "guidance_scale",
    "max_sequence_length",
    "num_inference_steps",
)
"""Settings that the groups of a run share: as a column they would be ignored."""
_ALSO_CALLED = {
    "guidance": "guidance_scale",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "steps": "num_inference_steps",
    "num_steps": "num_inference_steps",
    "inference_steps": "num_inference_steps",
}
_UNSUPPORTED = (
    "negative_prompt",
    "negative_prompts",
    "negative_prompt_2",
    "prompt_2",
    "true_cfg_scale",
    "sampler",
    "scheduler",
    "strength",
    "denoising_strength",
    "clip_skip",
    "lora",
    "loras",
    "lora_scale",
)
"""What other pipelines take for an image, and no stage here does."""
_NEAR = 0.8
"""Share of letters from which on a name may be a misspelt one."""


_NUMBERED = re.compile(r"prompts?_?[0-9]+")
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class UnknownColumn:
    """A column that means nothing here and is carried through to the manifest."""

    name: str
    meant: str | None = None
    """The known column that it resembles."""
    num_rows: int = 0
    """Rows of the files that have it."""

    def __str__(self) -> str:
        hint = f"did you mean {self.meant}?" if self.meant else ""
        rows = f"{self.num_rows:,} row{'s' if self.num_rows > 1 else ''}" if self.num_rows else ""
        notes = "; ".join(filter(None, [hint, rows]))
        return f"{_show(self.name)} ({notes})" if notes else _show(self.name)


def _show(name: str) -> str:
    """Return a column's name for a line of text; those of other writers may hold anything."""
    is_plain = name.strip() and name.isprintable() and len(name) <= _SHOWN_CHARS
    return name if is_plain else repr(name[:_SHOWN_CHARS])


def known_columns(form: Form) -> frozenset[str]:
    """Return the columns that mean something to us; the others are carried through."""
    return frozenset(_REQUIRED[form]) | frozenset(_OPTIONAL) | frozenset(_PER_PROMPT[form])


def list_unknown_columns(
    schema: pa.Schema, form: Form, without: Container[str] = ()
) -> tuple[UnknownColumn, ...]:
    """Return the columns that are only carried through, in order, `without` some."""
    known = known_columns(form)
    return tuple(
        UnknownColumn(name, _find_meant(name, known - set(schema.names)))
        for name in schema.names
        if name not in known and name not in without
    )


def describe_unknown(columns: Sequence[UnknownColumn]) -> str:
    """Return a line about columns that are only carried through; empty: there are none."""
    if not columns:
        return ""
    names = ", ".join(map(str, columns))
    return f"columns without a meaning here, only carried into `extra`: {names}"


def find_form(file_name: str, schema: pa.Schema) -> Form:
    """Check the columns of one file and say which form it is in.

    Raises:
        PromptSetError: a column is missing, stands there twice, has the wrong type, or says what
            would be ignored.
    """
    form = _guess_form(schema)
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise PromptSetError(f"{file_name}: column {repeated[0]!r} stands there more than once")
    if missing := [name for name in _REQUIRED[form] if name not in schema.names]:
        raise PromptSetError(f"{file_name}: {_describe_missing(missing, schema, form)}")
    reasons = {column.name: _explain_refusal(column, schema, form) for column in schema}
    refused = {name: reason for name, reason in reasons.items() if reason}
    if refused:
        unknown = describe_unknown(list_unknown_columns(schema, form, without=refused))
        text = "; ".join([*refused.values(), *([unknown] if unknown else [])])
        raise PromptSetError(f"{file_name}: {text}")
    for field in schema:
        if field.name in known_columns(form):
            _check_type(file_name, field, KINDS[field.name], field.name in _REQUIRED[form])
    return form


def _guess_form(schema: pa.Schema) -> Form:
    """Tell the form by the column of prompts, even where its name has other capitals."""
    if _PROMPTS["wide"] in schema.names:
        return "wide"
    plain = {_to_snake_case(name) for name in schema.names}
    return "wide" if _PROMPTS["wide"] in plain or _PROMPTS["long"] not in plain else "long"


def _explain_refusal(column: pa.Field, schema: pa.Schema, form: Form) -> str | None:
    """Say why a column would be ignored or cannot be carried, and what to do; None: it is fine."""
    name, plain = column.name, _to_snake_case(column.name)
    setting = _ALSO_CALLED.get(plain, plain)
    if name not in known_columns(form) and (right := _OF_OTHER_FORM[form].get(plain)):
        is_double = right in schema.names
        advice = "leave one of them out" if is_double else f"call it {right!r}, or leave it out"
        return (
            f"column {name!r} means nothing beside {_PROMPTS[form]!r} "
            f"and would be ignored: {advice}"
        )
    if setting in _OF_THE_RUN:
        option = setting.replace("_", "-")
        return (
            f"column {name!r} would be ignored: {setting} is one value for a whole run; say "
            f"--{option}, and leave the column out or call it something else"
        )
    if plain in _UNSUPPORTED:
        return (
            f"column {name!r} would be ignored: images are made from prompts alone, without "
            f"{plain}; leave the column out or call it something else"
        )
    if name not in known_columns(form) and _holds_bytes(column.type):
        return (
            f"column {name!r} holds bytes ({column.type}), which the manifest's JSON cannot "
            "carry: leave it out, or put a path or an address in its place"
        )
    return None


def _describe_missing(missing: Sequence[str], schema: pa.Schema, form: Form) -> str:
    is_one = len(missing) == 1
    names = f"{'column' if is_one else 'columns'} {' and '.join(map(repr, missing))}"
    meant = {column.meant: column.name for column in list_unknown_columns(schema, form)}
    hints = [
        f"is {meant[name]!r} meant for {'it' if is_one else name}? "
        for name in missing
        if name in meant
    ]
    if numbered := [name for name in schema.names if _NUMBERED.fullmatch(_to_snake_case(name))]:
        hints = [f"put what stands in {', '.join(numbered)} into rows, or into a list; "]
    found = ", ".join(map(_show, schema.names)) or "none"
    return (
        f"{names} {'is' if is_one else 'are'} missing, found {found}; {''.join(hints)}expected "
        "group_id and prompts (a row a group), or group_id and prompt (a row a prompt)"
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        # A UUID is stored as 16 bytes, and is text in Python and JSON.
        return kind.extension_name != "arrow.uuid" and _holds_bytes(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _holds_bytes(kind.value_type)
    if kind.num_fields:  # lists, maps, structs and unions alike
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    checks = (
        types.is_binary,
        types.is_large_binary,
        types.is_binary_view,
        types.is_fixed_size_binary,
    )
    return any(is_bytes(kind) for is_bytes in checks)


def _to_snake_case(name: str) -> str:
    """Write guidanceScale, "Guidance Scale" and guidance-scale alike."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")


def _find_meant(name: str, known: frozenset[str]) -> str | None:
    near = get_close_matches(_to_snake_case(name), sorted(known), n=1, cutoff=_NEAR)
    return near[0] if near else None


def _check_type(file_name: str, field: pa.Field, kind: Kind, is_required: bool) -> None:
    # A column that is empty throughout has no type in Parquet, and says nothing.
    all_null = types.is_null(field.type) and not is_required
    if not all_null and not kind.is_right(field.type):
        raise PromptSetError(
            f"{file_name}: column {field.name!r} has type {field.type}, expected {kind.name}"
        )
