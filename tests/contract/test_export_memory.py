"""An export of a dataset larger than the memory that it may use."""

import json
import subprocess
import sys

from tests.coupled_command import ROOT

DATASET_MB, LIMIT_MB = 220, 200
FORMATS = ["webdataset", "huggingface"]  # a tar, and Parquet, which is read back by row groups


def test_a_dataset_larger_than_the_memory_limit_is_exported_and_checked() -> None:
    command = [sys.executable, "-m", "infra.benchmarks.export_memory", *FORMATS]
    command += ["--dataset-mb", str(DATASET_MB), "--limit-mb", str(LIMIT_MB)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    exports = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [found["format"] for found in exports] == FORMATS
    for found in exports:
        assert found["dataset_mb"] > found["limit_mb"] == LIMIT_MB
        assert found["edits_checked"] == 2 * found["pairs"] > 0
