"""Looks at the variables that boto3 reads, before a request fails in a way that hides which."""

import os

from coupled_core.addresses import find_address_problem
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
        endpoint = os.environ.get(name)
        if endpoint and (
            problem := find_address_problem(endpoint, may_log_in=True, may_have_query=True)
        ):
            raise ConfigError(f"{name} {problem}: expected an address like http://HOST:PORT")
    for name in _CREDENTIALS:
        # They are sent in headers. A copied key often brings a line break along.
        if not all("!" <= char <= "~" for char in os.environ.get(name, "")):
            raise ConfigError(
                f"{name} holds a space, a line break or a character that is not ASCII, which no "
                "request can carry: set it again, without what stands around it"
            )
