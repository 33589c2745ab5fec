"""The S3 server itself is killed and started again while two processes commit to one dataset."""

import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import boto3
import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.errors import StorageError
from coupled_core.storage.s3 import S3Store
from tests.faults.disturbances import READ_TIMEOUT_SECONDS
from tests.faults.operations import list_damage, read_state
from tests.forks import FORKS
from tests.s3_servers import SeaweedServer
from tests.sample_shards import describe_run, publish

pytestmark = pytest.mark.timeout(600)
URI = "s3://killed/pairs"
NUM_SHARDS = 4
"""Of each writer. Both commit the shards of a third run as well."""
KILLED_AT = (1, 2)
NUM_ROWS = 4
"""Of a shard: a kept pair, a dropped, a failed and a quarantined one."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SeaweedServer]:
    running = SeaweedServer(tmp_path)
    for name, value in running.server.environment.items():
        monkeypatch.setenv(name, value)
    with running:
        boto3.session.Session().client("s3").create_bucket(Bucket="killed")
        yield running


def test_a_server_killed_during_commits_loses_and_doubles_nothing(server: SeaweedServer) -> None:
    moments, writers, progress = random.Random(7), [], []
    for name in ("first", "second"):
        ours, theirs = FORKS.Pipe()
        arguments = (theirs, server.server.environment, name)
        writers.append(FORKS.Process(target=_write, args=arguments))
        writers[-1].start()
        progress.append(ours)
    num_failures = 0
    for index in range(NUM_SHARDS):
        assert progress[0].recv() == index
        if index in KILLED_AT:
            time.sleep(moments.uniform(0, 0.3))
            server.stop(signal.SIGKILL)
            server.start()
    for each in progress:
        while isinstance(message := each.recv(), int):
            pass
        num_failures += message["failures"]
    for writer in writers:
        writer.join(60)
    store = S3Store(URI)
    ids = [pair_id for pair_id, _ in read_state(store)]
    assert len(ids) == len(set(ids)) == 3 * NUM_SHARDS * NUM_ROWS
    assert list_damage(store) == []
    assert num_failures > 0, "no kill was noticed"


def _write(connection: Connection, environment: dict[str, str], name: str) -> None:
    """Commit shards of a run of our own and of one that both writers have."""
    os.environ.update(environment)
    store, failures = S3Store(URI, read_timeout_seconds=READ_TIMEOUT_SECONDS), 0
    for index in range(NUM_SHARDS):
        connection.send(index)
        for run, shard in ((name, index + 100 * (name == "second")), ("twin", 1000 + index)):
            while True:
                try:
                    _commit(store, run, shard)
                    break
                except StorageError:  # as a task does, which tries again
                    failures += 1
    connection.send({"failures": failures})


def _commit(store: S3Store, run: str, index: int) -> None:
    published = publish(store, run, index, num_kept=1)
    commit_shards(store, [published], describe_run(run))
