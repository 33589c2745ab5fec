"""Addresses that the environment names, looked at before a request fails and hides the reason."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit


def find_address_problem(
    url: str,
    schemes: Collection[str] = ("http", "https"),
    *,
    may_log_in: bool = False,
    may_have_query: bool = False,
) -> str:
    """Return what is wrong with an address, without quoting it: it may hold a password.

    Args:
        url: As it was given.
        schemes: What it may begin with.
        may_log_in: It may name a user and a password.
        may_have_query: It may end in a query or a fragment.

    Returns:
        Words that follow the name of whatever holds the address; empty: nothing is wrong.
    """
    if not re.fullmatch(r"[!-~]+", url):
        return "is empty" if not url.strip() else "holds blanks or characters that are not ASCII"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text quotes what stands in place of the port: often a password
        return "has a host or a port that is none"
    if parts.scheme not in schemes:
        return f"does not begin with {' or '.join(f'{each}://' for each in sorted(schemes))}"
    if not host or not re.fullmatch(r"[\w.:-]+", host) or port == 0:
        return "has a host or a port that is none"
    if parts.username is not None and not may_log_in:
        return "holds a user or a password"
    if (parts.query or parts.fragment) and not may_have_query:
        return "has a query or a fragment"
    return ""
