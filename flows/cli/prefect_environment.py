"""Looks at what the environment says about Prefect, before Prefect fails in a way that hides it."""

import os
from typing import Any

from coupled_core.addresses import find_address_problem
from coupled_core.errors import ConfigError, CoupledError

_URL = "PREFECT_API_URL"


class ServerUnavailableError(CoupledError):
    """Neither the Prefect server that was named nor a temporary one can be reached."""


def read_api_url() -> str | None:
    """Return the address of the server that environment or profile name; None: neither does.

    Raises:
        ConfigError: Prefect cannot read its settings, or what they name is no address.
    """
    try:
        from prefect import settings

        url: str | None = settings.PREFECT_API_URL.value()
    except OSError as error:
        raise ConfigError(
            f"Prefect cannot read its settings: {error.strerror}: {error.filename}; give access "
            "to it, or name another folder in PREFECT_HOME"
        ) from error
    except ValueError as error:  # pydantic's: one variable is wrong, and it names only its field
        raise ConfigError(_describe_problem(error)) from error
    if url:
        _check_url(url)
    return url or None


def require_server() -> None:
    """Ask the server that is named for something that only those may know whom it lets in.

    Raises:
        ConfigError: it does not let us in.
        ServerUnavailableError: it does not answer, or is no Prefect server.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    try:
        with get_client(sync_client=True) as client:
            # The health route answers anybody, so it would not show a key that is missing.
            client.read_flows(limit=1)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ConfigError(
                f"the Prefect server at {url} does not let us in (HTTP {status}): set "
                "PREFECT_API_KEY (Prefect Cloud) or PREFECT_API_AUTH_STRING (your own server)"
            ) from error
        raise ServerUnavailableError(
            f"what answers at {url} is no Prefect API (HTTP {status}): check {_URL}, which ends "
            "with /api for a server of your own"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError, ValueError) as error:
        # Prefect raises RuntimeError without a server, httpx ValueError for odd headers
        cause = error.__cause__ or error
        raise ServerUnavailableError(
            f"no Prefect server answers at {url} ({type(cause).__name__}: {cause}): start it, "
            f"correct {_URL}, or unset it to have a temporary one"
        ) from error


def _check_url(url: str) -> None:
    if find_address_problem(url, may_log_in=True):
        raise ConfigError(
            f"{_URL} is not the address of a server: expected http://HOST:PORT/api, or unset it "
            "to have a temporary server"
        )
    if find_address_problem(url):
        raise ConfigError(
            f"{_URL} holds a name or a password, which would be written into logs: take them out "
            "of it and set PREFECT_API_AUTH_STRING=NAME:PASSWORD"
        )


def _describe_problem(error: ValueError) -> str:
    problems: list[dict[str, Any]] = getattr(error, "errors", list)()
    for problem in problems:
        field = "_".join(str(part) for part in problem["loc"]).upper()
        named = [
            name for name in os.environ if name.startswith("PREFECT_") and name.endswith(field)
        ]
        if field and named:
            text = problem["msg"].replace("Input should be", "expected")
            return f"{' or '.join(sorted(named))}: {text.partition(', unable to')[0]}"
    names = sorted(name for name in os.environ if name.startswith("PREFECT_"))
    return (
        f"Prefect does not take its settings: one of {', '.join(names) or 'its profile'} is wrong"
    )
