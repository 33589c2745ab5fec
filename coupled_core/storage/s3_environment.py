"""Looks at the variables that boto3 reads, before a request fails in a way that hides which."""

import os
from urllib.parse import urlsplit

from coupled_core.errors import ConfigError

# botocore takes the first that is set.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
)


def check_environment() -> None:
    """Refuse variables that no request can be made with; their values are never shown.

    Raises:
        ConfigError: naming the variable and what is wrong with it.
    """
    for name in _ENDPOINTS:
        if problem := _find_problem(os.environ.get(name, "")):
            raise ConfigError(f"{name} {problem}: expected an address like http://HOST:PORT")
    for name in _CREDENTIALS:
        # They are sent in headers. A copied key often brings a line break along.
        if not all("!" <= char <= "~" for char in os.environ.get(name, "")):
            raise ConfigError(
                f"{name} holds a space, a line break or a character that is not ASCII, which no "
                "request can carry: set it again, without what stands around it"
            )


def _find_problem(endpoint: str) -> str | None:
    """Return what is wrong with an endpoint; None if nothing is, or there is none."""
    if not endpoint:
        return None
    if not endpoint.lower().startswith(("http://", "https://")):
        return "does not begin with http:// or https://"
    if any(char <= " " for char in endpoint):
        return "holds a space or a line break"
    try:
        url = urlsplit(endpoint)
        if not url.hostname:
            return "names no host"
        if url.port == 0:
            return "names port 0"
    except ValueError:  # its text quotes what stands in place of the port: often a password
        return "has no valid host and port"
    return None
