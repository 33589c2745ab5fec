"""The record of a search: one line of JSON an evaluation, written as soon as it is known."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coupled_core.config import fingerprint
from coupled_core.errors import ConfigError
from coupled_core.methods.method import Knob

_FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """One candidate and what it scored."""

    index: int
    """From 0, in the order in which the search asked."""
    knobs: Mapping[str, float]
    objective: float


class History:
    """The evaluations of one search, on disk; survives a kill between any two bytes."""

    def __init__(self, path: Path, evaluations: Sequence[Evaluation]) -> None:
        self.path = path
        self._evaluations = list(evaluations)

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All evaluations, by index."""
        return tuple(self._evaluations)

    def append(self, evaluation: Evaluation) -> None:
        """Add one and wait until the disk has it."""
        if evaluation.index != len(self._evaluations):
            raise ValueError(f"expected evaluation {len(self._evaluations)}, got {evaluation}")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(evaluation)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._evaluations.append(evaluation)


def open_history(path: Path, space: Sequence[Knob], seed: int) -> History:
    """Open or begin the history of a search.

    Raises:
        ConfigError: the file belongs to another search, or is not a history.
    """
    header = {"format": _FORMAT, "search": _name_search(space, seed)}
    lines = _read_whole_lines(path)
    if not lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, [json.dumps(header)])
        return History(path, [])
    if _parse(path, lines[0]) != header:
        raise ConfigError(
            f"{path} is the history of another search (other knobs, ranges or seed): remove it, or "
            "write this one somewhere else"
        )
    _replace(path, lines)  # without the half line that a kill may have left
    return History(path, [Evaluation(**_parse(path, line)) for line in lines[1:]])


def _name_search(space: Sequence[Knob], seed: int) -> str:
    ranges = [[k.name, k.low, k.high, k.default, k.integer] for k in space]
    return fingerprint({"space": ranges, "seed": seed})


def _read_whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return whole.splitlines()


def _replace(path: Path, lines: Sequence[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    temporary.replace(path)


def _parse(path: Path, line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: expected JSON, got {line[:80]!r}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is damaged: expected an object, got {line[:80]!r}")
    return content
