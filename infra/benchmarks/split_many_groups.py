"""Split a large set through Message Batches against the loopback server, with a kill in the middle.

    python -m infra.benchmarks.split_many_groups --groups 10000

One process splits and gets SIGKILL half way, while batches run; the next one goes on; the last one
finds everything done. Printed: what the server was asked and would have been paid, what our records
say, and how much memory each process takes on its way and at most.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from coupled_core.config import DEFAULT_PRICES, SplitConfig
from coupled_core.records import GroupSplit, PromptGroup
from infra.benchmarks.arguments import build_parser
from tests.messages_server.process import RunningServer

_MODEL = SplitConfig().model
_SHARD = 100
_REPORTS = 10
"""Lines a process about its way, and about its memory."""


def main() -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--groups", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--batch-seconds", type=float, default=5.0)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cache:
        _split(arguments)
        return
    server = RunningServer(batch_seconds=arguments.batch_seconds)
    os.environ.update(server.environment)
    try:
        with tempfile.TemporaryDirectory() as cache:
            _kill_and_go_on(arguments, server, cache)
    finally:
        server.stop()


def _kill_and_go_on(arguments: argparse.Namespace, server: RunningServer, cache: str) -> None:
    num_batches = -(-arguments.groups // arguments.batch_size)
    first = _start(arguments, cache)
    _watch(first, Path(cache), num_batches, until=num_batches // 2)
    first.kill()
    first.wait()
    num_stored = sum(1 for _ in Path(cache).glob("answers/*/*.json"))
    _say("killed", answers_stored=num_stored, **_bill(server))
    second = _start(arguments, cache)
    _watch(second, Path(cache), num_batches, until=num_batches)
    _say("went on", **json.loads(second.communicate()[0]), **_bill(server))
    before = server.counters()["requests"]
    third = json.loads(_start(arguments, cache).communicate()[0])
    _say("again", **third, new_requests=_difference(server.counters()["requests"], before))


def _watch(process: "subprocess.Popen[str]", cache: Path, num_batches: int, until: int) -> None:
    """Return when so many batches are harvested or the process has ended."""
    reported, started = -1, time.monotonic()
    while process.poll() is None:
        finished = sum(1 for _ in (cache / "finished-batches").glob("*.json"))
        if finished * _REPORTS // num_batches > reported:
            reported = finished * _REPORTS // num_batches
            seconds = round(time.monotonic() - started)
            _say("", batches=finished, seconds=seconds, memory_mib=_memory_mib(process.pid))
        if finished >= until:
            return
        time.sleep(0.5)


def _memory_mib(pid: int) -> int:
    num_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return num_pages * resource.getpagesize() >> 20


def _start(arguments: argparse.Namespace, cache: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", __spec__.name, "--cache", cache]
    for name in ("groups", "batch_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _bill(server: RunningServer) -> dict[str, Any]:
    counters, paid = server.counters(), server.paid()["by_custom_id"]
    price, tokens = DEFAULT_PRICES[_MODEL], counters["tokens"]
    usd = price.batch_factor * (
        tokens.get("batch_input_tokens", 0) * price.input_usd
        + tokens.get("batch_output_tokens", 0) * price.output_usd
    )
    return {
        "server_paid_requests": len(paid),
        "server_most_for_one": max(paid.values(), default=0),
        "server_usd": round(usd / 1e6, 9),
        "server_requests": counters["requests"],
    }


def _split(arguments: argparse.Namespace) -> None:
    from coupled_core.splitting.llm.splitter import LlmSplitter

    config = SplitConfig(
        transport="batch",
        batch_size=arguments.batch_size,
        cache_uri=arguments.cache,
        no_cap=True,
    )
    splitter = LlmSplitter(config, account="benchmark")
    started = time.monotonic()
    splitter.prepare(lambda: make_groups(arguments.groups), arguments.groups)
    prepared = time.monotonic() - started
    num_split, usd, groups = 0, 0.0, make_groups(arguments.groups)
    while shard := list(islice(groups, _SHARD)):
        outcomes = splitter.split(shard)
        num_split += sum(isinstance(outcome, GroupSplit) for outcome in outcomes)
        usd += sum(outcome.llm_cost_usd for outcome in outcomes)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"split": num_split, "usd": round(usd, 9), "prepare_seconds": round(prepared, 1)}
    print(json.dumps({**figures, "peak_memory_mib": round(peak_mib)}))


def make_groups(count: int) -> Iterator[PromptGroup]:
    """Yield groups of two prompts, each with a word of its own."""
    for number in range(count):
        prompts = (f"A fox of kind k{number} in a quiet garden", "An owl in a quiet garden")
        yield PromptGroup(f"group-{number}", prompts, "made up", number)


def _difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}


def _say(what: str, **figures: Any) -> None:
    print(f"{what}: {json.dumps(figures)}", flush=True)


if __name__ == "__main__":
    main()
