"""How the property tests search: the same inputs each time, a few seconds a test."""

import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

search = settings(
    derandomize=True,  # a red build is red again
    database=None,
    deadline=None,  # two cores under load are not slow code
    max_examples=int(os.environ.get("SEARCH_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "keep", "2.0", "region", "a\0b", "\u202e", "9" * 400])
)
values: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
"""Whatever JSON can say, and some of what it cannot."""


def changed(document: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return documents like one that is right: fields gone, exchanged for anything, or added."""
    paths = [(), *_paths(document)]
    changes = st.tuples(st.sampled_from(paths), st.sampled_from(["drop", "put"]), values)
    return st.lists(changes, min_size=1, max_size=3).map(lambda each: _change(document, each))


def json_bytes(documents: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Return documents as files: whole, cut short, with a flipped byte, or no JSON at all."""
    written = documents.map(lambda value: json.dumps(value).encode())
    cut = st.tuples(written, st.integers(0, 2000)).map(lambda each: each[0][: each[1]])
    flipped = st.tuples(written, st.integers(0, 10**6), st.integers(1, 255)).map(_flip)
    return written | cut | flipped | st.binary(max_size=60)


def ends_in(call: Callable[[], object], *errors: type[BaseException]) -> bool:
    """Call; True: it returned. What it raises must be one of the errors, with a text."""
    try:
        call()
    except errors as error:
        assert str(error), "an error must say something"
        return False
    return True


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [found for key, each in inner for found in [(*path, key), *_paths(each, (*path, key))]]


def _change(document: dict[str, Any], changes: list[tuple[tuple[Any, ...], str, Any]]) -> Any:
    made: Any = json.loads(json.dumps(document))
    for path, kind, value in changes:
        if not path:
            made = value if kind == "put" else made
            continue
        target = made
        try:
            for key in path[:-1]:
                target = target[key]
            if kind == "put":
                target[path[-1]] = value
            else:
                del target[path[-1]]
        except (LookupError, TypeError):  # an earlier change took it away
            continue
    return made


def _flip(each: tuple[bytes, int, int]) -> bytes:
    data, place, mask = each
    place %= len(data)
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
