"""Worker processes obey their parent, not the terminal."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

from flows.worker_process import take_device


def test_ctrl_c_is_for_the_parent_which_ends_its_workers_itself() -> None:
    spawned = multiprocessing.get_context("spawn")
    arguments = (spawned.Value("i", 0), ())
    with ProcessPoolExecutor(1, spawned, take_device, arguments) as pool:
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker
