"""How close the online transport comes to its concurrency bound, against the loopback server.

    python -m infra.benchmarks.split_online --concurrency 4 16 64 --answer-seconds 2

With answers that take S seconds and C at a time, no more than C / S answers a second can come.
Printed: answers a second, their share of that bound, and the most requests that the server saw at
once. With `--workers 2` two processes split the same set and share its questions.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from coupled_core.config import SplitConfig
from infra.benchmarks.arguments import build_parser
from infra.benchmarks.split_many_groups import make_groups
from tests.messages_server.process import RunningServer


def main() -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--answer-seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=10, help="questions, by concurrency")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--split", nargs=3, metavar=("CACHE", "C", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.split:
        cache, concurrency, num_groups = arguments.split
        _split(Path(cache), int(concurrency), int(num_groups))
        return
    print("workers concurrency answers  answers/s  of bound  at once  paid twice")
    for concurrency in arguments.concurrency:
        server = RunningServer(answer_seconds=arguments.answer_seconds)
        os.environ.update(server.environment)
        try:
            print(_measure(arguments, server, concurrency), flush=True)
        finally:
            server.stop()


def _measure(arguments: argparse.Namespace, server: RunningServer, concurrency: int) -> str:
    num_groups = concurrency * arguments.rounds * arguments.workers
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", __spec__.name, "--split", cache]
        command += [str(concurrency), str(num_groups)]
        workers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(arguments.workers)
        ]
        for worker in workers:  # imports are not what is measured
            assert worker.stdout is not None
            worker.stdout.readline()
        started = time.monotonic()
        for worker in workers:
            worker.communicate("go\n")
        rate = num_groups / (time.monotonic() - started)
    bound = arguments.workers * concurrency / arguments.answer_seconds
    counters = server.counters()
    num_twice = counters["paid"]["online"] - counters["paid"]["distinct_prompts"]
    return (
        f"{arguments.workers:7} {concurrency:11} {num_groups:7} {rate:10.2f} {rate / bound:9.0%} "
        f"{counters['max_in_flight']:8} {num_twice:11}"
    )


def _split(cache: Path, concurrency: int, num_groups: int) -> None:
    from coupled_core.splitting.llm.splitter import LlmSplitter

    config = SplitConfig(
        transport="online", max_concurrency=concurrency, cache_uri=str(cache), max_llm_usd=100.0
    )
    splitter = LlmSplitter(config)
    assert splitter.session.api is not None  # imports the SDK
    print("ready", flush=True)
    sys.stdin.readline()
    splitter.prepare(lambda: make_groups(num_groups), num_groups)


if __name__ == "__main__":
    main()
