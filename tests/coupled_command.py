"""Runs `coupled` as users do, in a process of its own, against one Prefect server a session."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.miniature import miniature_folder
from coupled_core.storage.open_store import open_store
from flows.cli.temporary_server import temporary_server
from tests.warm_command import run_warm, start_warm

ROOT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 280
_PROGRAM = "from flows.cli.start import main; main()"
"""What the installed command runs."""
UNSTABLE_COLUMNS = ("created_at", "generate_seconds", "gpu_seconds", "code_revision")
SMALL = ("--num-inference-steps", "2", "--shard-size", "2", "--batch-size", "1")
"""Few steps and tiny shards: the four groups of `write_prompts` become 2 shards of 2 batches."""


@dataclass(frozen=True)
class Coupled:
    """The command in a folder of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, log: Path | None = None) -> "subprocess.Popen[str]":
        """Start the command and return at once; standard error goes to `log`."""
        with (log or self.folder / "log").open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, *arguments],
                cwd=self.folder,
                env=self._all_variables,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=_hear_ctrl_c,
            )

    def run(
        self, *arguments: str, before: Callable[[], None] | None = None
    ) -> tuple[int, str, str]:
        """Run the command to its end; return exit code, standard output, standard error.

        It starts as a fork of a process that has imported its libraries already, with `before`.
        """
        log, output = self.folder / "log", self.folder / "output"
        log.unlink(missing_ok=True)
        output.unlink(missing_ok=True)
        variables = self._all_variables
        code = run_warm(arguments, self.folder, variables, output, log, TIMEOUT_SECONDS, before)
        return code, output.read_text(), log.read_text()

    def start_warm(self, *arguments: str, log: Path) -> BaseProcess:
        """Start the command as `run` does and return at once; all that it says goes to `log`."""
        return start_warm(arguments, self.folder, self._all_variables, log, log)

    @property
    def _all_variables(self) -> dict[str, str]:
        ours = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return {**os.environ, **ours, **self.environment}


def _hear_ctrl_c() -> None:
    """Take SIGINT as a terminal's child does; shells let background jobs (CI) ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write_prompts(path: Path, num_groups: int = 4) -> Path:
    """Write the first groups of the shipped set, one of three prompts among them."""
    table = pq.read_table(miniature_folder("prompts") / "example.parquet")
    rows = table.to_pylist()
    larger = next(row for row in rows if len(row["prompts"]) == 3)
    pairs = [row for row in rows if len(row["prompts"]) == 2][: num_groups - 1]
    pq.write_table(pa.Table.from_pylist([*pairs, larger], schema=table.schema), path)
    return path


def read_rows(dataset: str | Path) -> list[dict[str, Any]]:
    """Return the manifest rows that a reader sees, by pair_id, without what no two runs share."""
    store = open_store(dataset)
    snapshot = current_snapshot(store)
    assert snapshot is not None, f"{dataset} holds no snapshot"
    rows = [row for b in iter_manifest(store, snapshot.parts) for row in b.to_pylist()]
    stable = [{k: v for k, v in row.items() if k not in UNSTABLE_COLUMNS} for row in rows]
    return sorted(stable, key=lambda row: str(row["pair_id"]))


@pytest.fixture(scope="session")
def prefect_url() -> Iterator[str]:
    """The API of a server of ours; starting one takes some ten seconds."""
    with temporary_server(180) as url:
        yield url


@pytest.fixture
def coupled(tmp_path: Path, prefect_url: str) -> Coupled:
    """The command in an empty folder."""
    return Coupled(tmp_path, {"PREFECT_API_URL": prefect_url})


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Path:
    """A folder with `prompts.parquet` and `pairs`, what an undisturbed build made of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_prompts(folder / "prompts.parquet")
    command = Coupled(folder, {"PREFECT_API_URL": prefect_url})
    code, output, errors = command.run(*build_arguments())
    assert code == 0, errors
    (folder / "output.txt").write_text(output)
    return folder


def build_arguments(*more: str) -> list[str]:
    """Return the small build; its paths are relative, so that settings are equal in all folders."""
    return ["build", "--prompts", "prompts.parquet", "--output", "pairs", *SMALL, *more]
