"""What a worker process of a pool does before its first task: take a device, obey its parent alone.

Nothing heavy is imported here: the device must be taken before torch looks for one.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any


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
        # Not sys.exit, which would end this thread alone.
        os._exit(1)

    threading.Thread(target=wait_and_end, name="end-with-parent", daemon=True).start()


def leave_quietly() -> None:
    """Let Ctrl-C, which reaches every process of a terminal, be the parent's, which terminates us.

    A terminated process cannot give back what it holds, so it holds nothing that Python would warn
    of: progress bars of libraries lock among threads only.
    """
    from tqdm import tqdm

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())


def take_device(taken: Any, devices: Sequence[str]) -> None:
    """Let this process see one device of several, and end with its parent.

    Args:
        taken: A shared `Value` that counts the processes so far.
        devices: As in CUDA_VISIBLE_DEVICES; empty: there are none to share out.
    """
    # The processes start at the same time; without the lock two could read the same number.
    with taken.get_lock():
        number = taken.value
        taken.value += 1
    if devices:
        # There may be more workers than devices; then several share one.
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    end_with_parent()
    leave_quietly()
