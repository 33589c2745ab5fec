"""Which shards of a run somebody builds: ranges in words, and a run cut into them."""

import re
from collections.abc import Iterator, Sequence

from coupled_core.errors import ConfigError

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def parse_ranges(text: str) -> list[range]:
    """Return the shards that "0-99" or "3,7,20-29" names, both ends included.

    Raises:
        ConfigError: it is not such a list.
    """
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise ConfigError(
                f"shards: expected numbers and ranges such as 0-99 or 3,7,20-29; got {part!r}"
            )
        found.append(range(first, last + 1))
    return found


def cut_ranges(indices: Sequence[int], size: int) -> Iterator[tuple[str, list[int]]]:
    """Yield ranges of `size` shards, in words, with those of the given shards that lie in them.

    The ranges depend on nothing but their size: what is open changes while a run is under way, and
    whoever divides it again must come to the same names.
    """
    for first in sorted({index // size * size for index in indices}):
        inside = [index for index in indices if first <= index < first + size]
        yield f"{first}-{first + size - 1}", inside
