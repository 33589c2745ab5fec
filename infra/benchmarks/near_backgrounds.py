"""What a commit of sixteen backgrounds costs a dataset that has many: the search for near ones.

    python -m infra.benchmarks.near_backgrounds [--backgrounds 1000 10000 100000] [--json]

Backgrounds are made up of five of forty words. Those that are there stand in an index file. Beside
it stands what comparing all of them with each other takes, which `coupled verify` does, up to ten
thousand.
"""

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coupled_core.config import fingerprint
from coupled_core.dataset.backgrounds import (
    canonical_background,
    content_words,
    partition_of_background,
)
from coupled_core.dataset.commit.extend_index import write_index
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.row_index import INDEX_SCHEMA, PartRows, RowIndex, read_index_file
from coupled_core.dataset.snapshot import IndexInfo
from coupled_core.dataset.upkeep.partition import find_near_backgrounds, find_near_new
from coupled_core.storage.local import LocalStore
from infra.benchmarks.arguments import build_parser

_NUM_NEW = 16
_MAX_ALL = 10_000
_WORDS = [f"word{index:02d}" for index in range(40)]


def measure(num_backgrounds: int) -> dict[str, Any]:
    """Return what looking at the new ones takes, and at all."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(_WORDS, 5, replace=False)) for _ in range(num_backgrounds)]
    with tempfile.TemporaryDirectory() as folder:
        index = _index(Path(folder), texts)
        content_words.cache_clear()
        started_at = time.process_time()
        found = find_near_new(index, {fingerprint({"part": "new"})})
        seconds = time.process_time() - started_at
    row = {"backgrounds": num_backgrounds, "found": len(found), "cpu_seconds": seconds}
    if num_backgrounds <= _MAX_ALL:
        content_words.cache_clear()
        started_at = time.process_time()
        every = find_near_backgrounds((t, partition_of_background(t), 1) for t in texts)
        row |= {"found_all": len(every), "cpu_seconds_all": time.process_time() - started_at}
    return row


def _index(folder: Path, texts: list[str]) -> RowIndex:
    names = [fingerprint({"part": name}) for name in ("old", "new")]
    num_old = len(texts) - _NUM_NEW
    count, path = len(texts), folder / "index.parquet"
    columns = [
        pa.array([names[0]] * num_old + [names[1]] * _NUM_NEW).dictionary_encode(),
        pa.array([index.to_bytes(16) for index in range(count)], pa.binary(16)),
        *(pa.nulls(count, field.type) for field in list(INDEX_SCHEMA)[2:5]),
        pa.array(texts).dictionary_encode(),
        pa.array(map(canonical_background, texts)).dictionary_encode(),
        pa.array(map(partition_of_background, texts)).dictionary_encode(),
    ]
    write_index(path, [pa.table(columns, schema=INDEX_SCHEMA)])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    info = IndexInfo(key="", num_rows=count, size_bytes=path.stat().st_size, sha256=digest)
    file = read_index_file(path, info, dict(zip(names, (num_old, _NUM_NEW), strict=True)))
    parts: list[PartInfo] = []
    return RowIndex(parts, [file], PartRows(LocalStore(folder)))


def main() -> None:
    """Measure, and print a row for each number of backgrounds."""
    parser = build_parser(__doc__)
    parser.add_argument("--backgrounds", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = [measure(num_backgrounds) for num_backgrounds in options.backgrounds]
    if options.json:
        print(json.dumps({"near_backgrounds": rows}))
        return
    for row in rows:
        text = f"{row['backgrounds']:>8,} backgrounds, {_NUM_NEW} of them new: {row['found']} found"
        every = f"; all with all {row['cpu_seconds_all']:.2f} s" if "found_all" in row else ""
        print(f"{text}, {row['cpu_seconds']:.3f} s of CPU{every}")


if __name__ == "__main__":
    main()
