"""How long an exchange with the API may take in all, and how much it may bring.

HTTP libraries bound the wait for the next byte, and whoever sends one every few seconds is never
late for that. So time and size are looked at where bytes pass the network: the limits hold for
handshakes, headers, answers and errors alike. Who waits for bytes looks up now and then, whether
somebody has cut all exchanges short.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from httpcore2 import NetworkBackend, NetworkStream, ReadError, ReadTimeout, WriteTimeout

# A large body goes out in pieces, between which the time is looked at.
_WRITE_BYTES = 1 << 16
_LOOK_SECONDS = 0.5


@dataclass
class _Exchange:
    seconds: float
    max_bytes: float
    deadline: float
    ends_at: Callable[[], float]
    num_bytes: int = 0


class _Current(threading.local):
    # A class attribute: each thread begins without one.
    exchange: _Exchange | None = None


_current = _Current()


@contextmanager
def limited(seconds: float, max_bytes: float, ends_at: Callable[[], float]) -> Iterator[None]:
    """Bound what this thread exchanges through clients of `install_limits`: raw bytes that come.

    Too late is a time-out of the HTTP library's, too much a read error.

    Args:
        seconds: The most that it may take in all.
        max_bytes: The most that may come.
        ends_at: When it has to end by all means, on the monotonic clock; may change meanwhile.
    """
    before = _current.exchange
    _current.exchange = _Exchange(seconds, max_bytes, time.monotonic() + seconds, ends_at)
    try:
        yield
    finally:
        _current.exchange = before


def install_limits(client: httpx2.Client) -> None:
    """Make a client, with its proxies, heed `limited`."""
    # The pool takes a backend, and the transport that makes the pool hands none on.
    transports: list[Any] = [client._transport, *client._mounts.values()]
    for transport in transports:
        if transport is not None:
            transport._pool._network_backend = _LimitedBackend(transport._pool._network_backend)


class _LimitedStream(NetworkStream):
    def __init__(self, stream: NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = _current.exchange
        if exchange is None:
            return self._stream.read(max_bytes, timeout)
        data = self._read_in_time(exchange, max_bytes, timeout)
        exchange.num_bytes += len(data)
        if exchange.num_bytes > exchange.max_bytes:
            raise ReadError(f"it brought more than {exchange.max_bytes:,.0f} bytes")
        return data

    def _read_in_time(self, exchange: _Exchange, max_bytes: int, timeout: float | None) -> bytes:
        silent_until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = _time_left(exchange, silent_until - time.monotonic(), ReadTimeout)
            try:
                # Never 0, with which sockets do not wait at all and fail in another way.
                return self._stream.read(max_bytes, max(1e-3, min(left, _LOOK_SECONDS)))
            except ReadTimeout:
                if time.monotonic() >= silent_until:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        exchange, view = _current.exchange, memoryview(buffer)
        for at in range(0, len(view), _WRITE_BYTES):
            if exchange is not None:
                timeout = _time_left(exchange, timeout, WriteTimeout)
            self._stream.write(bytes(view[at : at + _WRITE_BYTES]), timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> NetworkStream:
        # TLS wraps the plain stream anew, so the result has to be wrapped as well.
        return _LimitedStream(self._stream.start_tls(*args, **kwargs))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _LimitedBackend(NetworkBackend):
    def __init__(self, backend: NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(self, *args: Any, **kwargs: Any) -> NetworkStream:
        return _LimitedStream(self._backend.connect_tcp(*args, **kwargs))

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> NetworkStream:
        return _LimitedStream(self._backend.connect_unix_socket(*args, **kwargs))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


def _time_left(exchange: _Exchange, timeout: float | None, late: type[Exception]) -> float:
    left = exchange.deadline - time.monotonic()
    if left <= 0:
        raise late(f"it took longer than {exchange.seconds:g} s in all")
    left = min(left, exchange.ends_at() - time.monotonic())
    if left <= 0:
        raise late("nobody waits for it any more")
    return left if timeout is None else min(left, timeout)
