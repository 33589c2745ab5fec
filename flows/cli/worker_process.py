"""What a process of a pool needs in order not to outlive the command that started it."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process end as soon as its parent has; an initializer of a process pool.

    Workers of `concurrent.futures` wait for work on a pipe that they hold open themselves: after a
    SIGKILL of the parent they would wait for ever, each with a model in the GPU's memory.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_and_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_end, name="end-with-parent", daemon=True).start()
