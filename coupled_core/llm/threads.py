"""Work that waits for others, such as a network or a disk, many at a time in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_WINDOW = 4
"""Items that may be ahead of the oldest unfinished one, by thread: it does not hold up others."""


def map_in_threads(
    function: Callable[[T], R],
    items: Iterable[T],
    num_threads: int,
    on_interrupt: Callable[[], None] = lambda: None,
) -> Generator[R, None, None]:
    """Yield the results in the order of the items, which are read as they are needed.

    After an error, or when the reader stops, what has begun is finished and nothing new begins:
    an answer that is on its way is paid for and worth having.

    Args:
        items: Any number of them.
        on_interrupt: Called when nobody wants more, as at Ctrl-C: has what has begun end soon.
    """
    # Not `pool.map`, which would read all items at once.
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="split")
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            # What is done is handed out at once; what is slow may not let the queue grow.
            while len(pending) >= _WINDOW * num_threads or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C, SIGTERM, or nobody reads on
            on_interrupt()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
