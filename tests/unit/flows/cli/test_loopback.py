"""What the environment says about proxies, once this machine is excepted."""

import os
import urllib.request

import pytest

from flows.cli.loopback import keep_loopback_direct


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):  # so that what is set goes again
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("spelling", ["no_proxy", "NO_PROXY"])
def test_this_machine_is_excepted_and_what_was_excepted_stays(
    monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv(spelling, "intern.example, 10.0.0.1")
    keep_loopback_direct()
    keep_loopback_direct()
    for name in ("no_proxy", "NO_PROXY"):
        assert os.environ[name] == "intern.example,10.0.0.1,127.0.0.1,localhost,::1"
    for host in ("127.0.0.1:4200", "localhost:4200", "10.0.0.1"):
        assert urllib.request.proxy_bypass(host)
    assert not urllib.request.proxy_bypass("api.example")


def test_nothing_is_set_without_a_proxy_or_where_none_is_used_anyway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_loopback_direct()
    assert "no_proxy" not in os.environ
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    keep_loopback_direct()
    assert os.environ["NO_PROXY"] == "*"
