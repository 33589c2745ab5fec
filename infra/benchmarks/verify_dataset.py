"""Rate and memory of `coupled verify` on synthetic datasets.

    python -m infra.benchmarks.verify_dataset [--pairs 2048] [--side-px 128]

Images are noise, the slowest to decode for their size. The dataset is made in a temporary folder;
the command runs in a process of its own, whose largest resident size is reported.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.storage.local import LocalStore
from infra.benchmarks.arguments import build_parser
from tests.sample_shards import describe_run, publish

_PAIRS_A_SHARD = 128


def make_dataset(folder: Path, num_pairs: int, side_px: int) -> None:
    """Commit as many kept pairs, and three other rows a shard."""
    store = LocalStore(folder)
    shards = [
        publish(store, "run", index, num_kept=_PAIRS_A_SHARD, side_px=side_px)
        for index in range(num_pairs // _PAIRS_A_SHARD)
    ]
    commit_shards(store, shards, describe_run("run"))


def measure(folder: Path, num_threads: int) -> dict[str, float]:
    """Run the command and return its figures."""
    command = [sys.executable, "-P", "-m", "flows.cli.main", "verify", str(folder), "--json"]
    command += ["--threads", str(num_threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "pairs": report["num_compared"],
        "rows": report["num_rows"],
        "MB": report["num_bytes"] / 1e6,
        "seconds": report["seconds"],
        "pairs per second": report["num_compared"] / report["seconds"],
        "CPU seconds": usage.ru_utime + usage.ru_stime,
        "largest resident MB": usage.ru_maxrss / 1e3,
    }


def main() -> None:
    """Make a dataset, verify it, print the figures."""
    parser = build_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=2048)
    parser.add_argument("--side-px", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder), options.pairs, options.side_px)
        for name, value in measure(Path(folder), options.threads).items():
            print(f"{name:<20} {value:,.1f}")


if __name__ == "__main__":
    main()
