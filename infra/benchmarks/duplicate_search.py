"""Time and memory of the search for near-duplicates among many pairs.

    python -m infra.benchmarks.duplicate_search [--pairs 1000000] [--new 10000]

Pairs are made up: a thousand backgrounds, whose hashes the images of a background share but for one
bit in eight, so that as many chunks agree by chance as in a dataset with a thousand pairs of each
background. One new pair in a hundred is a copy of an old one.
"""

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray

from coupled_core.config import DuplicatesConfig
from coupled_core.dataset.duplicates import PairLooks, find_duplicates

_NUM_BACKGROUNDS = 1000


def main() -> None:
    """Search, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=10_000)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    backgrounds = _bits(random, _NUM_BACKGROUNDS)
    settled = _looks(random, options.pairs, backgrounds, "a")
    new = _looks(random, options.new, backgrounds, "b")
    num_copies = options.new // 100
    new.phashes[:num_copies] = settled.phashes[:num_copies] ^ np.uint64(0b101)
    new.codes[:num_copies] = settled.codes[:num_copies]
    started_at = time.process_time()
    found = find_duplicates([settled], new, DuplicatesConfig())
    seconds = time.process_time() - started_at
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"{options.new:,} new pairs against {options.pairs:,}: {len(found):,} duplicates "
        f"({num_copies:,} were put in), {seconds:.1f} s of CPU, "
        f"largest resident size {peak_mb:,.0f} MB"
    )


def _looks(
    random: np.random.Generator, count: int, backgrounds: NDArray[np.uint64], prefix: str
) -> PairLooks:
    ids = np.array([f"{prefix}{index:031x}" for index in range(count)], "S32")
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
