"""What all settings have in common."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from coupled_core.redaction import holds_credentials


class Settings(BaseModel):
    """Base of all settings: frozen, unknown names refused, no NaN or infinity in any number."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # Prefect writes down what it cannot read
    )


def refuse_credentials(uri: str) -> str:
    """Refuse what would stand in the dataset and in Prefect's database."""
    if holds_credentials(uri):
        raise ValueError(
            "holds a password, a key or a signature: take it out and use the environment, such as "
            "AWS_PROFILE or AWS_ACCESS_KEY_ID"
        )
    return uri


def fingerprint(value: BaseModel | dict[str, Any]) -> str:
    """Return the SHA-256 of a setting's canonical JSON, 64 hex digits."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return hash_canonical(_CANONICAL.encode(plain))


def hash_canonical(text: str) -> str:
    """Return the fingerprint of a value that is canonical JSON already, 64 hex digits.

    For ids of rows, of which there are millions: `json` takes ten times as long to write one as a
    format string does. Keys sorted, no blanks, texts by `quote`.
    """
    return hashlib.sha256(text.encode()).hexdigest()


quote = json.encoder.encode_basestring_ascii
"""Writes a text as canonical JSON does."""

# Sorted and without blanks: ids follow from these bytes, so the form must never change.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
