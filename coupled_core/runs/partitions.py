"""A prompt set in partitions: one a file, or one a value of a folder's key; which, in order."""

import glob
import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from coupled_core.config import BackfillSettings, PromptSetConfig, RunConfig
from coupled_core.errors import ConfigError
from coupled_core.prompts.files import SHIPPED_SETS, InputFile, list_input_files
from coupled_core.prompts.patterns import cut_pattern, is_pattern
from coupled_core.prompts.standard_input import STANDARD_INPUT

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_MAX_SHOWN = 20
_KINDS = ("a date such as 2026-11-01", "a number", "a name")

Order = tuple[int, int, str]
"""Which of `_KINDS` a name is ordered by, and its number or its text."""


class Partition(BaseModel):
    """What one build of a backfill makes."""

    model_config = ConfigDict(frozen=True)
    name: str
    """Value of the folder's key, or the file as the user would write it."""
    uris: tuple[str, ...]

    @property
    def order(self) -> Order:
        """Where it stands among the others: by the last date in its name, by number, by name."""
        return _order_of(self.name)


def list_partitions(prompts: PromptSetConfig, settings: BackfillSettings) -> list[Partition]:
    """Return the partitions to look at, in the order in which they are to be built.

    Raises:
        ConfigError: a partition that is named does not exist, a bound is of another kind than the
            names, or a file lies in no folder of the key.
        PromptSetError: there are no files.
    """
    found: dict[str, list[str]] = {}
    for name, uri in _list_files(prompts, settings.by):
        found.setdefault(name, []).append(uri)
    if unknown := sorted(set(settings.partition) - set(found)):
        names = ", ".join(sorted(found)[:_MAX_SHOWN])
        raise ConfigError(f"there is no partition {unknown[0]!r}: expected one of {names}")
    partitions = [Partition(name=name, uris=tuple(uris)) for name, uris in found.items()]
    if settings.partition:
        partitions = [each for each in partitions if each.name in settings.partition]
    for bound, sign in ((settings.first, 1), (settings.last, -1)):
        if bound is not None:
            # At or after the first, at or before the last.
            partitions = [each for each in partitions if sign * _compare(each, bound) >= 0]
    return sorted(partitions, key=lambda each: each.order, reverse=settings.newest_first)


def config_of(partition: Partition, config: RunConfig) -> RunConfig:
    """Return the settings of the build of one partition."""
    prompts = {**config.prompts.model_dump(), "uri": partition.uris}
    return config.model_copy(update={"prompts": PromptSetConfig.model_validate(prompts)})


def _list_files(prompts: PromptSetConfig, by: str) -> Iterator[tuple[str, str]]:
    """Yield the partition that each file belongs to, and how to name the file for a build."""
    for uri in prompts.uris:
        if uri == STANDARD_INPUT:
            raise ConfigError("a backfill cannot read standard input: name files or a pattern")
        if uri in SHIPPED_SETS:
            yield uri, uri
            continue
        for file in list_input_files(uri):
            yield _name_partition(file, by), _name_alone(file, uri)


def _name_partition(file: InputFile, by: str) -> str:
    if by == "file":
        return file.name
    values = [value for name, value in file.folder_columns if name == by]
    if not values:
        raise ConfigError(
            f"{file.name} lies in no folder {by}=... below what --prompts names: expected one, or "
            "--by file"
        )
    return values[-1] or "null"


def _name_alone(file: InputFile, uri: str) -> str:
    """Return what names one file of a set so that its folders still give its rows columns.

    Folders count below a wildcard alone, so one letter of the first of them becomes a pattern.
    """
    if not file.folder_columns:
        return file.name
    root = f"{uri.rstrip('/')}/"
    if not file.name.startswith(root):
        root = cut_pattern(uri)[0] if is_pattern(uri) else root
    below = file.name[len(root) :]
    at = next(index for index, letter in enumerate(below) if letter.isalnum())
    # "[d]" matches "d" alone.
    return f"{root}{glob.escape(below[:at])}[{below[at]}]{glob.escape(below[at + 1 :])}"


def _compare(partition: Partition, bound: str) -> int:
    """Return -1, 0 or 1 as a partition stands before, at or after a bound.

    Raises:
        ConfigError: they cannot be compared.
    """
    order, limit = partition.order, _order_of(bound)
    if order[0] != limit[0]:
        raise ConfigError(
            f"{bound!r} cannot bound partitions such as {partition.name!r}: expected "
            f"{_KINDS[order[0]]}, got {_KINDS[limit[0]]}"
        )
    return (order > limit) - (order < limit)


def _order_of(name: str) -> Order:
    last = name.rpartition("/")[2]
    if dates := _DATE.findall(name):
        return 0, 0, dates[-1]
    if numbers := _NUMBER.findall(last):
        return 1, int(numbers[-1]), ""
    return 2, 0, last
