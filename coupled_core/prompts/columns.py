"""The columns of a prompt set: which there are, of what type, and in which of the two forms."""

from collections.abc import Callable
from typing import Literal

import pyarrow as pa
from pyarrow import types

from coupled_core.errors import PromptSetError

Form = Literal["wide", "long"]
Check = Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_texts(kind: pa.DataType) -> bool:
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and _is_text(kind.value_type)


def _is_integer(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind))


_TEXT: tuple[str, Check] = ("string", _is_text)
_TEXTS: tuple[str, Check] = ("list<string>", _is_texts)
_INTEGER: tuple[str, Check] = ("integer", _is_integer)

SETTINGS = ("seed", "num_seeds", "width", "height", "variation_kind", "background_prompt")
"""Optional columns that hold one value a group."""
_OPTIONAL = dict(zip(SETTINGS, (*[_INTEGER] * 4, _TEXT, _TEXT), strict=True))
_REQUIRED: dict[Form, dict[str, tuple[str, Check]]] = {
    "wide": {"group_id": _TEXT, "prompts": _TEXTS},
    "long": {"group_id": _TEXT, "prompt": _TEXT},
}
_PER_PROMPT: dict[Form, dict[str, tuple[str, Check]]] = {
    "wide": {"entity_prompts": _TEXTS},
    "long": {"entity_prompt": _TEXT},
}


def known_columns(form: Form) -> frozenset[str]:
    """Return the columns that mean something to us; the others are carried through."""
    return frozenset(_REQUIRED[form]) | frozenset(_OPTIONAL) | frozenset(_PER_PROMPT[form])


def find_form(file_name: str, schema: pa.Schema) -> Form:
    """Check the columns of one file and say which form it is in.

    Raises:
        PromptSetError: a column is missing, stands there twice, or has the wrong type.
    """
    form: Form = "long" if "prompt" in schema.names and "prompts" not in schema.names else "wide"
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise PromptSetError(f"{file_name}: column {repeated[0]!r} stands there more than once")
    for name in _REQUIRED[form]:
        if name not in schema.names:
            found = ", ".join(schema.names) or "none"
            raise PromptSetError(
                f"{file_name}: column {name!r} is missing, found {found}; expected group_id and "
                "prompts (a row a group), or group_id and prompt (a row a prompt)"
            )
    for name, (expected, is_right) in {**_REQUIRED[form], **_OPTIONAL, **_PER_PROMPT[form]}.items():
        if name in schema.names:
            _check_type(file_name, schema.field(name), expected, is_right, name in _REQUIRED[form])
    return form


def _check_type(
    file_name: str, field: pa.Field, expected: str, is_right: Check, is_required: bool
) -> None:
    all_null = types.is_null(field.type) and not is_required
    if not all_null and not is_right(field.type):
        raise PromptSetError(
            f"{file_name}: column {field.name!r} has type {field.type}, expected {expected}"
        )
