"""Errors as the Messages API words them."""

from collections.abc import Mapping
from typing import Any

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """An error response."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON document of the response."""
        return error_body(_TYPES[self.status], str(self))


class ConnectionLostError(Exception):
    """The connection is reset instead of answered."""


def error_body(kind: str, message: str) -> dict[str, Any]:
    """Return an error document; rows of a batch carry it too."""
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_loopback",
    }
