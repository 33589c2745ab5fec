"""What a run of many shards costs a Prefect server, its database and the process that runs it.

    python -m infra.benchmarks.many_shards [--shards 4000] [--groups-a-shard 250] [--json]
        [--database-url postgresql+asyncpg://USER@127.0.0.1/prefect]

The flow is `build_dataset` itself on a server that is started for it, with plan, leases, tasks,
logs and commits. Only the stages do nothing: each shard uploads a few made-up rows, so that what is
left is what a shard costs beside its images. Without a database the server has SQLite. Requests are
those by HTTP of the run's own process, logs included; states of tasks travel on one websocket.
"""

import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from coupled_core.config import OutputConfig, RunSettings
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.dataset.funnel import Funnel
from coupled_core.progress import SilentProgress, report_to
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.steps import ShardResult
from infra.benchmarks.arguments import build_parser
from infra.benchmarks.plan_run import write_prompts
from tests.prefect_server import PrefectServer, prefect_server
from tests.sample_shards import publish

_EVERY = 10
"""Measured as often in a run."""


class _Clock(SilentProgress):
    """Notes how it stands every so many shards."""

    def __init__(self, every: int, look: Any) -> None:
        self._every, self._look, self.num_shards = every, look, 0
        self.started_at = time.monotonic()
        self.rows: list[dict[str, float]] = []

    def begin(self, stage: str, total: int) -> None:
        """Note the plan's beginning and end."""
        if stage in ("groups", "shards"):
            self.note()

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Count shards."""
        if stage == "shards":
            self.num_shards += count
            if self.num_shards % self._every == 0:
                self.note()

    def note(self) -> None:
        """Measure."""
        seconds = time.monotonic() - self.started_at
        self.rows.append({"shards": self.num_shards, "seconds": seconds, **self._look()})


def _do_nothing(*_: object) -> bool:
    return True


def _write(work: ShardWork) -> ShardResult:
    index = work.plan.shard_index
    shard: UploadedShard = publish(work.store, work.plan.run_id, index, num_kept=1)
    work.folder.write_done(shard.model_dump(mode="json"))
    return ShardResult(index, work.plan.num_pairs, Funnel(pairs_planned=5), {})


@contextmanager
def _counted_requests() -> Iterator[dict[str, int]]:
    """Count what this process asks of the server by HTTP."""
    counts = {"requests": 0}
    plain, asynchronous = httpx.Client.send, httpx.AsyncClient.send

    def send(self: httpx.Client, *args: Any, **kwargs: Any) -> httpx.Response:
        counts["requests"] += 1
        return plain(self, *args, **kwargs)

    async def send_later(self: httpx.AsyncClient, *args: Any, **kwargs: Any) -> httpx.Response:
        counts["requests"] += 1
        return await asynchronous(self, *args, **kwargs)

    with (
        patch.object(httpx.Client, "send", send),
        patch.object(httpx.AsyncClient, "send", send_later),
    ):
        yield counts


def _read_resident_mb(pid: int) -> float:
    """Return what a process and its children take, from /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own / 1e3 + sum(_read_resident_mb(int(child)) for child in children)


def _read_database(server: PrefectServer, url: str | None) -> dict[str, float]:
    """Return the size of the server's database and the events in it, task states among them."""
    if url is None:
        path = server.folder / "prefect.db"
        with closing(sqlite3.connect(path)) as opened:
            [[num_events]] = opened.execute("select count(*) from events").fetchall()
        size = sum(each.stat().st_size for each in server.folder.glob("prefect.db*"))
        return {"database_mb": size / 1e6, "events": num_events}
    import asyncio

    import asyncpg  # type: ignore[import-untyped]

    async def ask() -> tuple[int, int]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            size = await connection.fetchval("select pg_database_size(current_database())")
            return size, await connection.fetchval("select count(*) from events")
        finally:
            await connection.close()

    size, num_events = asyncio.run(ask())
    return {"database_mb": size / 1e6, "events": num_events}


def measure(num_shards: int, groups_a_shard: int, database_url: str | None) -> dict[str, Any]:
    """Run all shards; return how it stood after each tenth of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "prompts.parquet", num_shards * groups_a_shard)
        with (
            prefect_server(folder, database_url) as server,
            temporary_settings({PREFECT_API_URL: server.url}),
            _counted_requests() as counts,
        ):
            assert server.process is not None
            pid = server.process.pid

            def look() -> dict[str, float]:
                return {
                    **counts,
                    "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
                    "server_mb": _read_resident_mb(pid),
                    **_read_database(server, database_url),
                }

            clock = _Clock(max(num_shards // _EVERY, 1), look)
            _build(folder, groups_a_shard, clock)
            clock.note()
    return {"groups": num_shards * groups_a_shard, "shards": num_shards, "rows": clock.rows}


def _build(folder: Path, groups_a_shard: int, clock: _Clock) -> None:
    from flows import build_dataset, build_shard

    stages: dict[str, Any] = {"write": _write}
    stages |= dict.fromkeys(("split", "make_pairs", "filter_pairs"), _do_nothing)
    with (
        patch.multiple(build_shard, **stages),
        patch.object(build_dataset, "_make_pictures", lambda *_: {}),
        report_to(clock),
    ):
        build_dataset.build_dataset(
            prompts=str(folder / "prompts.parquet"),
            output=str(folder / "pairs"),
            config=RunSettings(output=OutputConfig(shard_size=groups_a_shard)),
        )


def main() -> None:
    """Measure, and print a row for each tenth of the run."""
    parser = build_parser(__doc__)
    parser.add_argument("--shards", type=int, default=4000)
    parser.add_argument("--groups-a-shard", type=int, default=250)
    parser.add_argument("--database-url")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = measure(options.shards, options.groups_a_shard, options.database_url)
    if options.json:
        print(json.dumps({"many_shards": found}))
        return
    print(f"{found['groups']:,} groups in {found['shards']:,} shards")
    for before, row in zip([None, *found["rows"]], found["rows"], strict=False):
        passed = row["seconds"] - (before["seconds"] if before else 0.0)
        shards = row["shards"] - (before["shards"] if before else 0)
        asked = row["requests"] - (before["requests"] if before else 0)
        print(
            f"{row['shards']:>6,} shards, {row['seconds']:>7.0f} s: "
            f"{passed / shards if shards else 0:.2f} s and {asked / max(shards, 1):.1f} requests a "
            f"shard, {asked * 60 / passed:.0f} a minute; this process {row['resident_mb']:.0f} MB, "
            f"server {row['server_mb']:.0f} MB, database {row['database_mb']:.1f} MB with "
            f"{row['events']:.0f} events"
        )


if __name__ == "__main__":
    main()
