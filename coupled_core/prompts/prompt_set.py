"""Prompt sets: what a run is asked to draw, read in order and in bounded memory."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.files import InputFile, list_input_files, open_parquet
from coupled_core.prompts.rows import RawGroup, read_raw_groups
from coupled_core.prompts.seen_groups import SeenGroups
from coupled_core.prompts.validate import shorten, validate_group
from coupled_core.records import PromptGroup, QuarantinedRow

MAX_LISTED_ROWS = 20


@dataclass(frozen=True)
class PromptFileSummary:
    """One file of a checked set."""

    uri: str
    etag: str
    """SHA-256 of a local file, the server's tag on S3."""
    num_rows: int


@dataclass(frozen=True)
class PromptSetSummary:
    """What a prompt set holds, known before anything expensive is done."""

    num_groups: int
    num_prompts: int
    num_quarantined: int
    files: tuple[PromptFileSummary, ...]


def read_prompt_set(config: PromptSetConfig) -> Iterator[PromptGroup | QuarantinedRow]:
    """Yield the groups of a prompt set, and bad rows where the config quarantines them, in order.

    Raises:
        PromptSetError: the set is missing, unreadable or empty, has wrong columns, or holds bad
            rows that the config does not quarantine. The rows come up while reading: run
            `check_prompt_set` first to have them before any work is done.
    """
    records = _read_records(list_input_files(config.uri), config)
    for record in records:
        if isinstance(record, QuarantinedRow) and config.on_bad_row == "fail":
            raise _bad_rows_error(record, records)
        yield record


def check_prompt_set(config: PromptSetConfig) -> PromptSetSummary:
    """Read a whole prompt set once and count it.

    Raises:
        PromptSetError: as `read_prompt_set`.
    """
    num_groups = num_prompts = num_quarantined = 0
    for record in read_prompt_set(config):
        if isinstance(record, QuarantinedRow):
            num_quarantined += 1
        else:
            num_groups += 1
            num_prompts += len(record.prompts)
    files = tuple(_summarise(file) for file in list_input_files(config.uri))
    return PromptSetSummary(num_groups, num_prompts, num_quarantined, files)


def _read_records(
    files: Sequence[InputFile], config: PromptSetConfig
) -> Iterator[PromptGroup | QuarantinedRow]:
    seen = SeenGroups()
    is_empty = True
    for raw in read_raw_groups(files):
        is_empty = False
        result = validate_group(raw, config.max_prompt_chars, trust_splits=config.trust_splits)
        problems = [] if isinstance(result, PromptGroup) else result
        problems += _find_duplicate(raw, seen, files)
        if isinstance(result, PromptGroup) and not problems:
            yield result
        else:
            yield _quarantine(raw, problems)
    if is_empty:
        names = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
        raise PromptSetError(f"the prompt set holds no rows: {names}")


def _find_duplicate(raw: RawGroup, seen: SeenGroups, files: Sequence[InputFile]) -> list[str]:
    group_id = raw.values["group_id"]
    if not group_id:
        return []
    first = seen.remember(group_id, raw.file_index, raw.source_row)
    if first is None:
        return []
    return [
        (
            f"column group_id: got {shorten(group_id)}, which stands in {files[first[0]].name}, "
            f"row {first[1]} already; expected unique ids (and, with a row a prompt, "
            "the rows of a group side by side)"
        )
    ]


def _quarantine(raw: RawGroup, problems: Sequence[str]) -> QuarantinedRow:
    return QuarantinedRow(
        raw.source_file, raw.source_row, raw.values["group_id"], "; ".join(problems)
    )


def _bad_rows_error(
    first: QuarantinedRow, rest: Iterator[PromptGroup | QuarantinedRow]
) -> PromptSetError:
    listed, total = [first], 1
    for record in rest:
        if isinstance(record, QuarantinedRow):
            total += 1
            if len(listed) < MAX_LISTED_ROWS:
                listed.append(record)
    lines = [f"{row.source_file}, row {row.source_row}: {row.message}" for row in listed]
    more = [f"... and {total - len(listed)} more"] if total > len(listed) else []
    advice = 'correct them, or set on_bad_row to "quarantine" to go on without them'
    count = "1 bad row" if total == 1 else f"{total} bad rows"
    head = f"the prompt set has {count} (numbered from 0); {advice}:"
    return PromptSetError("\n  ".join([head, *lines, *more]))


def _summarise(file: InputFile) -> PromptFileSummary:
    with open_parquet(file) as parquet:
        num_rows = parquet.metadata.num_rows
    return PromptFileSummary(file.name, file.read_etag(), num_rows)


class PromptCursor:
    """A place in a prompt set. Reading on is free; only going back starts from the first row."""

    def __init__(self, config: PromptSetConfig) -> None:
        self.config = config
        self._position = 0
        self._items: Iterator[PromptGroup | QuarantinedRow] | None = None
        self._lock = threading.Lock()

    def read(self, first_item: int, num_items: int) -> list[PromptGroup | QuarantinedRow]:
        """Return rows of the set, groups and quarantined ones, in order.

        Raises:
            PromptSetError: the set has become shorter since it was planned.
        """
        with self._lock:
            if self._items is None or first_item < self._position:
                self._position, self._items = 0, read_prompt_set(self.config)
            items, self._items = self._items, None  # after an error the next call starts over
            skipped = sum(1 for _ in islice(items, first_item - self._position))
            found = list(islice(items, num_items))
            self._position, self._items = self._position + skipped + len(found), items
        if len(found) < num_items:
            raise PromptSetError(
                f"{self.config.uri} has {self._position} rows, expected at least "
                f"{first_item + num_items}: it changed during the run; start the run again"
            )
        return found
