"""Prompt sets: what a run is asked to draw, read in order and in bounded memory."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.id_set import FirstPlaces
from coupled_core.prompts.columns import UnknownColumn, find_form, list_unknown_columns
from coupled_core.prompts.files import InputFile, list_input_files
from coupled_core.prompts.open_file import open_file
from coupled_core.prompts.rows import RawGroup, read_raw_groups, table_raw_groups
from coupled_core.prompts.tables import shorten
from coupled_core.prompts.validate import count_pairs, validate_group
from coupled_core.records import PromptGroup, QuarantinedRow

MAX_LISTED_ROWS = 20
MAX_PAIRS = 100_000_000
"""Planning keeps 16 bytes a pair in memory, and no machine makes so many in a year."""
_ROW_BITS = 40
_JUDGED_AT_ONCE = 1024
"""Rows in memory; to look ids up one by one takes several times as long."""
IN_MEMORY = "<groups>"
"""Stands for the file of a prompt set that is in none."""


@dataclass(frozen=True)
class PromptFileSummary:
    """One file of a checked set."""

    uri: str
    etag: str
    """SHA-256 of a local file, the server's tag on S3."""
    num_rows: int
    unknown_columns: tuple[UnknownColumn, ...] = ()
    """Columns that are only carried through."""


def unknown_columns_of(files: Iterable[PromptFileSummary]) -> tuple[UnknownColumn, ...]:
    """Return the columns that are only carried through, of all files, each once."""
    num_rows: Counter[tuple[str, str | None]] = Counter()
    for file in files:
        for column in file.unknown_columns:
            num_rows[column.name, column.meant] += column.num_rows
    return tuple(UnknownColumn(*names, count) for names, count in num_rows.items())


@dataclass(frozen=True)
class PromptSetSummary:
    """What a prompt set holds, known before anything expensive is done."""

    num_groups: int
    num_prompts: int
    num_quarantined: int
    files: tuple[PromptFileSummary, ...]


@dataclass(frozen=True)
class GivenPrompts:
    """A prompt set in memory."""

    file: PromptFileSummary
    """Stands for the file that it is not in; the tag follows from the content."""
    items: tuple[PromptGroup | QuarantinedRow, ...]


def read_prompt_set(config: PromptSetConfig) -> Iterator[PromptGroup | QuarantinedRow]:
    """Yield the groups of a prompt set, and bad rows where the config quarantines them, in order.

    Raises:
        PromptSetError: the set is missing, unreadable or empty, has wrong columns, or holds bad
            rows that the config does not quarantine. The rows come up while reading: run
            `check_prompt_set` first to have them before any work is done.
    """
    files = _list_files(config)
    names = [file.name for file in files]
    yield from _records(read_raw_groups(files), names, config)


def take_prompt_set(groups: Iterable[Mapping[str, Any]], config: PromptSetConfig) -> GivenPrompts:
    """Return a prompt set that is given as mappings, one a row, with the columns of a file.

    Raises:
        PromptSetError: as `read_prompt_set`.
    """
    table = _as_table(list(groups))
    items = tuple(_records(table_raw_groups(table, IN_MEMORY), [IN_MEMORY], config))
    content = json.dumps(table.to_pylist(), sort_keys=True, default=str)
    etag = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    unknown = _find_unknown(IN_MEMORY, table.schema, table.num_rows)
    return GivenPrompts(PromptFileSummary(IN_MEMORY, etag, table.num_rows, unknown), items)


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
    return PromptSetSummary(num_groups, num_prompts, num_quarantined, describe_files(config))


def describe_files(config: PromptSetConfig) -> tuple[PromptFileSummary, ...]:
    """Return the files of a prompt set without judging their rows.

    Raises:
        PromptSetError: nothing is there, a file is unreadable, or has wrong columns.
    """
    return tuple(_summarise(file) for file in _list_files(config))


def _list_files(config: PromptSetConfig) -> list[InputFile]:
    return [file for uri in config.uris for file in list_input_files(uri)]


def _as_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    wrong = [index for index, row in enumerate(rows) if not _is_named(row)]
    if wrong:
        raise PromptSetError(
            f"{IN_MEMORY}, row {wrong[0]}: got {shorten(rows[wrong[0]])}, expected a mapping from "
            "names of columns to values"
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, OverflowError, ValueError) as error:
            raise PromptSetError(
                f"{IN_MEMORY}: column {name!r}: expected values of one type that Parquet can "
                f"hold: {str(error).splitlines()[0]}"
            ) from error
    return pa.table(columns)


def _is_named(row: object) -> bool:
    return isinstance(row, Mapping) and all(isinstance(name, str) for name in row)


def _records(
    raws: Iterable[RawGroup], file_names: Sequence[str], config: PromptSetConfig
) -> Iterator[PromptGroup | QuarantinedRow]:
    records = _judge(raws, file_names, config)
    num_pairs = 0
    for record in records:
        if isinstance(record, PromptGroup):
            num_pairs += count_pairs(record.prompts, record.num_seeds)
        elif config.on_bad_row == "fail":
            # Reads on to the end, so that a person sees all bad rows at once.
            raise _bad_rows_error(record, records)
        if num_pairs > MAX_PAIRS:
            raise PromptSetError(
                f"the prompt set asks for more than {MAX_PAIRS:,} pairs (up to "
                f"{record.source_file}, row {record.source_row}): cut it into several, or ask for "
                "fewer seeds"
            )
        yield record


def _judge(
    raws: Iterable[RawGroup], file_names: Sequence[str], config: PromptSetConfig
) -> Iterator[PromptGroup | QuarantinedRow]:
    seen, rest, is_empty = FirstPlaces(), iter(raws), True
    while block := list(islice(rest, _JUDGED_AT_ONCE)):
        is_empty = False
        # Bad rows take their ids, too, or correcting one would make another a duplicate.
        for raw, first in zip(block, _find_first(block, seen), strict=True):
            result = validate_group(raw, config.max_prompt_chars, trust_splits=config.trust_splits)
            problems = [] if isinstance(result, PromptGroup) else result
            if first is not None:
                problems.append(_describe_duplicate(raw, first, file_names))
            if isinstance(result, PromptGroup) and not problems:
                yield result
            else:
                yield _quarantine(raw, problems)
    if is_empty:
        more = f" and {len(file_names) - 1} more" if len(file_names) > 1 else ""
        raise PromptSetError(f"the prompt set holds no rows: {file_names[0]}{more}")


def _find_first(block: Sequence[RawGroup], seen: FirstPlaces) -> list[int | None]:
    """Return for each group where its id came before, as `_place` has it; else remember it."""
    named = [index for index, raw in enumerate(block) if raw.values["group_id"]]
    hashes = [_hash_id(block[index].values["group_id"]) for index in named]
    found = seen.find_or_add(hashes, [_place(block[index]) for index in named])
    return list(map(dict(zip(named, found, strict=True)).get, range(len(block))))


def _hash_id(group_id: str) -> int:
    # Of a million different ids two share their 8 bytes with a chance of 3 in 100 million; the
    # later one would then be called a duplicate.
    encoded = group_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())


def _place(raw: RawGroup) -> int:
    return raw.file_index << _ROW_BITS | raw.source_row


def _describe_duplicate(raw: RawGroup, first: int, file_names: Sequence[str]) -> str:
    file_name, row = file_names[first >> _ROW_BITS], first & (1 << _ROW_BITS) - 1
    return (
        f"column group_id: got {shorten(raw.values['group_id'])}, which stands in {file_name}, "
        f"row {row} already; expected unique ids (and, with a row a prompt, "
        "the rows of a group side by side)"
    )


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
    with open_file(file) as opened:
        num_rows = opened.num_rows
        unknown = _find_unknown(file.name, opened.schema, num_rows)
    return PromptFileSummary(file.name, file.read_etag(), num_rows, unknown)


def _find_unknown(file_name: str, schema: pa.Schema, num_rows: int) -> tuple[UnknownColumn, ...]:
    unknown = list_unknown_columns(schema, find_form(file_name, schema))
    return tuple(replace(column, num_rows=num_rows) for column in unknown)
