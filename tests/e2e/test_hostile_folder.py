"""`coupled` in a folder whose files have the names of what it imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.coupled_command import ROOT, SMALL, read_rows, write_prompts

COUPLED = """
from flows.cli.main import main

if __name__ == "__main__":
    main()
"""
"""What pip installs as `coupled`."""
START_WORKER = """
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
from flows.cli import main

def start_worker():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        print(pool.submit(os.getpid).result())

if __name__ == "__main__":
    main.app = start_worker
    main.main()
"""
NAMES = (
    "flows/__init__.py", "tasks/__init__.py", "coupled_core/__init__.py", "prefect/__init__.py",
    "tasks.py", "uvicorn.py", "yaml.py", "torch.py", "pyarrow.py", "multiprocessing.py",
    "pickle.py", "json.py", "signal.py",
)  # fmt: skip


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of modules each of which says that it was imported, and then fails."""
    folder = tmp_path / "hostile"
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r} + chr(10))\n"
            "raise ImportError('the module of a stranger')\n"
        )
    return folder


def _run(folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a script that lies in another folder, as installed ones do."""
    script = folder.parent / "bin" / "coupled"
    script.parent.mkdir()
    script.write_text(program)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PYTHON"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_build_with_a_server_of_its_own_runs_our_code(hostile: Path, tmp_path: Path) -> None:
    write_prompts(hostile / "prompts.parquet", num_groups=2)
    (hostile / "run.yaml").write_text("prompts: {uri: prompts.parquet}\noutput: {uri: pairs}\n")
    done = _run(hostile, COUPLED, "build", "--config", "run.yaml", *SMALL)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "imported").exists()
    assert len(read_rows(hostile / "pairs")) == 4  # two pairs of one group, three of another


def test_worker_processes_run_our_code(hostile: Path, tmp_path: Path) -> None:
    done = _run(hostile, START_WORKER)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
    assert not (tmp_path / "imported").exists()
