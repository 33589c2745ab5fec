"""What commands let libraries print."""

import subprocess
import sys

RETRY = """
from flows.cli.terminal import Terminal, reported_errors
with reported_errors(Terminal()):
    from huggingface_hub.utils import logging
    logging.get_logger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
"""


def test_a_retry_of_the_hub_is_printed_once() -> None:
    done = subprocess.run([sys.executable, "-c", RETRY], capture_output=True, text=True, check=True)
    assert done.stderr.count("Retrying in 1s") == 1
