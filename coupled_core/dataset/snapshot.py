"""A snapshot: one immutable JSON file that names every part of a dataset at one moment."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from coupled_core.config import fingerprint
from coupled_core.dataset.columns import SCHEMA_VERSION, check_schema_version
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.parts import PartInfo
from coupled_core.documents import MAX_STORED_BYTES, parse_json
from coupled_core.errors import DatasetError

SNAPSHOT_FOLDER = "snapshots/"
INDEX_FOLDER = "index/"
SNAPSHOT_ID = r"\d{8}T\d{6}Z-[0-9a-f]{12}"
"""How ids look: time of making, then the beginning of the content's SHA-256."""
_KEY = re.compile(rf"{SNAPSHOT_FOLDER}(?P<id>{SNAPSHOT_ID})\.json", re.ASCII)


class InputInfo(BaseModel):
    """One file of a prompt set as it was read."""

    model_config = ConfigDict(frozen=True)

    uri: str
    sha256: str | None = None
    etag: str | None = None
    num_rows: int | None = None
    unknown_columns: tuple[str, ...] | None = None
    """Columns that meant nothing and were carried into `extra`, of each of its rows; None: an early
    version did not write it."""


def stores_background(config: Mapping[str, Any]) -> bool:
    """Say whether image parts of a run with these settings have columns of backgrounds."""
    return bool(config.get("output", {}).get("store_background", False))


class RunInfo(BaseModel):
    """A run that has rows in the dataset."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    config: dict[str, Any]
    """All settings; they hold no secrets."""
    config_sha256: str
    inputs: tuple[InputInfo, ...]
    package_version: str
    metric_version: str | None = None
    """Version of the definitions behind its scores; None: an early version did not write it."""
    partition_rule: str | None = Field(
        default=None, validation_alias=AliasChoices("partition_rule", "split_rule")
    )
    """Version of the rule that put its rows into train, val and test; None: the first.

    Snapshots of major version 1 call it split_rule."""
    funnel: Funnel = Funnel()
    """Counts of the run's rows in this snapshot; the commit fills it."""
    recut: dict[str, float] | None = None
    """Thresholds that decided last, where they are not those of `config`."""

    @property
    def thresholds(self) -> dict[str, float]:
        """The settings of the filter that decided about the run's rows, by name."""
        return {**self.config.get("filter", {}), **(self.recut or {})}


class IndexInfo(BaseModel):
    """A file with what commits need of many rows, so that they need not read every part again."""

    model_config = ConfigDict(frozen=True)

    key: str
    """`index/part-<number of manifest parts>-<first 8 digits of sha256>.parquet`."""
    num_rows: int
    size_bytes: int
    sha256: str


class Snapshot(BaseModel):
    """The state of a dataset. Its id holds a hash of its content, so damage shows."""

    model_config = ConfigDict(frozen=True)

    snapshot_id: str
    """`<created_at>-<first 12 digits of the content's SHA-256>`: sorts by time."""
    schema_version: str
    parent: str | None
    """The snapshot that this one followed; None for the first."""
    created_at: datetime
    """UTC."""
    action: str
    """What made it: "build", "recut" or another change of rows."""
    details: dict[str, Any] = {}
    """What a change of rows was asked to do; empty for "build"."""
    runs: tuple[RunInfo, ...]
    parts: tuple[PartInfo, ...]
    index: tuple[IndexInfo, ...] = ()
    """What is known of rows without reading their parts; parts that it lacks are read."""

    @classmethod
    def create(
        cls,
        *,
        parent: str | None,
        runs: tuple[RunInfo, ...],
        parts: tuple[PartInfo, ...],
        index: tuple[IndexInfo, ...] = (),
        action: str = "build",
        details: dict[str, Any] | None = None,
    ) -> Self:
        """Make a snapshot of now, with parts in the order of their keys."""
        # The id is a hash of all the rest, so that has to be there first.
        draft = cls(
            snapshot_id="",
            schema_version=SCHEMA_VERSION,
            parent=parent,
            created_at=datetime.now(UTC),
            action=action,
            details=details or {},
            runs=runs,
            # Sorted, so that it does not matter which shard was finished first.
            parts=tuple(sorted(parts, key=lambda part: part.key)),
            index=index,
        )
        digest = _content_sha256(draft.model_dump(mode="json"))
        name = f"{draft.created_at:%Y%m%dT%H%M%SZ}-{digest[:12]}"
        return draft.model_copy(update={"snapshot_id": name})

    @classmethod
    def from_bytes(cls, data: bytes, snapshot_id: str) -> Self:
        """Read a snapshot file.

        Raises:
            DatasetError: it is damaged, is another snapshot, or is of a newer major version.
        """
        try:
            plain = parse_json(data, MAX_STORED_BYTES)
            # The id ends with a hash of the content: a damaged or exchanged file does not fit it.
            if not snapshot_id.endswith("-" + _content_sha256(plain)[:12]):
                raise ValueError("its content does not match its checksum")
            check_schema_version(plain["schema_version"], f"snapshot {snapshot_id}")
            return cls.model_validate(plain)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise DatasetError(
                f"snapshot {snapshot_id} is damaged ({error}); restore {snapshot_key(snapshot_id)}"
            ) from error

    def to_bytes(self) -> bytes:
        """Return the snapshot file."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1).encode()

    @property
    def key(self) -> str:
        """Where the snapshot file stands."""
        return snapshot_key(self.snapshot_id)

    @property
    def object_keys(self) -> frozenset[str]:
        """Every object that it names. An attribute `keys` would make Prefect take it for a dict."""
        return frozenset(part.key for part in self.parts) | {file.key for file in self.index}

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that have rows here."""
        return tuple(run.run_id for run in self.runs)

    def run_of(self, part: PartInfo) -> RunInfo:
        """Return the run that made the rows of a part.

        Raises:
            DatasetError: the snapshot names none; no commit writes such a one.
        """
        found = [run for run in self.runs if run.run_id == part.run_id]
        if not found:
            raise DatasetError(f"{self.key} names no run {part.run_id}, of its part {part.key}")
        return found[0]

    @property
    def funnel(self) -> Funnel:
        """The funnel of all runs together."""
        return sum((run.funnel for run in self.runs), Funnel())

    def parts_of(self, kind: str) -> tuple[PartInfo, ...]:
        """Return the parts of one kind: "manifest", "images" or "dropped"."""
        return tuple(part for part in self.parts if part.kind == kind)


def snapshot_key(snapshot_id: str) -> str:
    """Return where a snapshot file stands."""
    return f"{SNAPSHOT_FOLDER}{snapshot_id}.json"


def parse_snapshot_key(key: str) -> str | None:
    """Return the id of the snapshot whose file it is; None: it is no snapshot's."""
    found = _KEY.fullmatch(key)
    return found["id"] if found else None


def _content_sha256(plain: dict[str, Any]) -> str:
    """Hash what the file says apart from its own name; fields that we do not know count too."""
    return fingerprint({name: value for name, value in plain.items() if name != "snapshot_id"})
