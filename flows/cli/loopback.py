"""Servers on this machine are asked directly, whatever proxy the environment names."""

import os

_NAMES = ("127.0.0.1", "localhost", "::1")


def keep_loopback_direct() -> None:
    """Except this machine from the proxies of this process and of those that it starts.

    A proxy elsewhere would look for our own Prefect server on its own machine. Call it before an
    HTTP client is made: clients read the environment when they are.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    if "*" not in hosts:
        # both spellings: where they differ, libraries do not agree which one counts
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys([*hosts, *_NAMES]))
