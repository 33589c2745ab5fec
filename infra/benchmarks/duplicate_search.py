"""Time and memory of the search for near-duplicates of new pairs among many that are there.

    python -m infra.benchmarks.duplicate_search [--pairs 1000000] [--new 1000] [--json]

Pairs are made up: a thousand backgrounds, whose hashes the images of a background share but for one
bit in eight, so that as many chunks agree by chance as in a dataset with a thousand pairs of each
background. One new pair in a hundred is a copy of an old one. Those that are there stand in an
index file; a process of its own hashes it, reads it and searches, as a commit does.
"""

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from coupled_core.config import DuplicatesConfig
from coupled_core.dataset.commit.extend_index import write_index
from coupled_core.dataset.duplicates import PairLooks, find_duplicates
from coupled_core.dataset.row_index import INDEX_SCHEMA, looks_of, read_index_file
from coupled_core.dataset.snapshot import IndexInfo
from infra.benchmarks.arguments import build_parser
from infra.benchmarks.plan_run import peak_resident_bytes

_NUM_BACKGROUNDS = 1000
_BLOCK = 65_536
_PART = "0" * 64


def main() -> None:
    """Search, and print what that took."""
    parser = build_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    runs = measure(options.pairs, options.new, options.repeats)
    seconds = [run["cpu_seconds"] for run in runs]
    found = {
        "pairs": options.pairs,
        "new": options.new,
        "put_in": options.new // 100,
        "found": runs[0]["found"],
        "cpu_seconds": statistics.median(seconds),
        "cpu_seconds_range": [min(seconds), max(seconds)],
        "resident_mb": max(run["resident_mb"] for run in runs),
    }
    if options.json:
        print(json.dumps({"duplicate_search": found}))
        return
    low, high = found["cpu_seconds_range"]
    print(
        f"{options.new:,} new pairs against {options.pairs:,}: {found['found']:,} duplicates "
        f"({found['put_in']:,} were put in), {found['cpu_seconds']:.2f} s of CPU "
        f"[{low:.2f}, {high:.2f}], largest resident size {found['resident_mb']:,.0f} MB"
    )


def measure(num_pairs: int, num_new: int, repeats: int) -> list[dict[str, float]]:
    """Make an index file, and return what each search in a process of its own took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.parquet"
        write_index(path, _iter_tables(num_pairs))
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            return [pool.apply(search, (path, num_pairs, num_new)) for _ in range(repeats)]


def search(path: Path, num_pairs: int, num_new: int) -> dict[str, float]:
    """Search an index file for duplicates of new pairs, and return what that took."""
    new = _looks(np.random.default_rng(1), num_new, "b")
    copies = next(_iter_looks(num_pairs))
    new.phashes[: num_new // 100] = copies.phashes[: num_new // 100] ^ np.uint64(0b101)
    new.codes[: num_new // 100] = copies.codes[: num_new // 100]
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    info = IndexInfo(key="", num_rows=num_pairs, size_bytes=path.stat().st_size, sha256=digest)
    started_at = time.process_time()
    file = read_index_file(path, info, {_PART: num_pairs})
    found = find_duplicates(map(looks_of, file.iter_tables()), new, DuplicatesConfig())
    return {
        "cpu_seconds": time.process_time() - started_at,
        "found": len(found),
        "resident_mb": peak_resident_bytes() / 1e6,
    }


def _iter_looks(num_pairs: int) -> Iterator[PairLooks]:
    random = np.random.default_rng(0)
    for start in range(0, num_pairs, _BLOCK):
        yield _looks(random, min(_BLOCK, num_pairs - start), f"a{start // _BLOCK:04x}")


def _iter_tables(num_pairs: int) -> Iterator[pa.Table]:
    for looks in _iter_looks(num_pairs):
        count = len(looks)
        ids = [bytes.fromhex(name.decode()) for name in looks.pair_ids.tolist()]
        phashes = looks.phashes.astype(">u8").tobytes()
        codes = looks.codes.tobytes()
        nothing = pa.nulls(count, pa.string())
        yield pa.table(
            [
                pa.array([_PART] * count).dictionary_encode(),
                pa.array(ids, pa.binary(16)),
                pa.array(looks.combined),
                pa.array([phashes[16 * i : 16 * (i + 1)] for i in range(count)], pa.binary(16)),
                pa.array([codes[128 * i : 128 * (i + 1)] for i in range(count)], pa.binary(128)),
                *[nothing.dictionary_encode()] * 3,
            ],
            schema=INDEX_SCHEMA,
        )


def _looks(random: np.random.Generator, count: int, prefix: str) -> PairLooks:
    backgrounds = _bits(np.random.default_rng(2), _NUM_BACKGROUNDS)
    ids = np.array([prefix + f"{index:0{32 - len(prefix)}x}" for index in range(count)], "S32")
    own = backgrounds[random.integers(0, len(backgrounds), count)]
    flips = np.stack(
        [_bits(random, count) & _bits(random, count) & _bits(random, count) for _ in (0, 1)], axis=1
    )
    codes = random.integers(-90, 90, (count, 2, 64), dtype=np.int8)
    return PairLooks(ids, random.normal(size=count), own[:, None] ^ flips, codes)


def _bits(random: np.random.Generator, count: int) -> NDArray[np.uint64]:
    return random.integers(0, 2**64, count, dtype=np.uint64)


if __name__ == "__main__":
    main()
