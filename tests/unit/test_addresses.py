"""What no request can be made to."""

import pytest

from coupled_core.addresses import find_address_problem


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        ("https://a host", "holds blanks"),
        ("https://höst", "not ASCII"),
        ("host:9000", "does not begin with http:// or https://"),
        ("https://", "a host or a port that is none"),
        ("https://host:0", "a host or a port that is none"),
        ("https://host:port", "a host or a port that is none"),
        ("https://[::1", "a host or a port that is none"),
        ("https://user:secret@host", "holds a user or a password"),
        ("https://host?key=secret", "has a query or a fragment"),
    ],
)
def test_what_is_wrong_is_said_without_a_quotation(url: str, problem: str) -> None:
    found = find_address_problem(url)
    assert problem in found
    assert "secret" not in found


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000", "HTTPS://host/x", "http://[::1]:80/v1"])
def test_an_address_has_no_problem(url: str) -> None:
    assert find_address_problem(url) == ""


def test_who_may_log_in_may_be_named_and_other_schemes_may_be_allowed() -> None:
    assert find_address_problem("http://user:secret@host", may_log_in=True) == ""
    assert find_address_problem("http://host/?sig=secret", may_have_query=True) == ""
    assert find_address_problem("socks5://host:1080", {"http", "socks5"}) == ""
