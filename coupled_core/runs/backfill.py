"""Many prompt sets into one dataset, partition by partition, with a state that lies in the store.

Each partition is one ordinary build, so ids, duplicates and commits are as ever. That it is done is
written down only after its snapshot; so a backfill that is killed goes on with the same command,
here or on another machine, and a second one has nothing to do.
"""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from coupled_core.config import BackfillSettings, RunConfig, fingerprint
from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.reader import load_snapshot
from coupled_core.documents import DAMAGE, MAX_STORED_BYTES, parse_json
from coupled_core.errors import (
    ConfigError,
    LeaseLostError,
    NotFoundError,
    PromptSetError,
    StorageError,
    must_repeat,
)
from coupled_core.progress import current_progress
from coupled_core.prompts.files import list_input_files
from coupled_core.redaction import clean_error
from coupled_core.runs.division import Elsewhere, leases_below
from coupled_core.runs.identity import run_id
from coupled_core.runs.models import generation_of
from coupled_core.runs.partitions import Partition, config_of, list_partitions
from coupled_core.runs.plan import fingerprint_of, name_requests
from coupled_core.runs.summary import RunSummary
from coupled_core.splitting.splitter import settle_split
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

Reprocess = Literal["missing", "failed", "all"]
# Becomes part of keys in the store.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

M = TypeVar("M", bound=BaseModel)


class PartitionState(BaseModel):
    """What is known of a partition that was tried; the stored form."""

    model_config = ConfigDict(frozen=True)
    name: str
    status: Literal["done", "failed"]
    input_etags: tuple[str, ...]
    config_sha256: str
    """Hash of all that the rows depend on beside the input."""
    snapshot_id: str | None = None
    """The dataset as it was after the build: the proof that it is done."""
    run_id: str | None = None
    """The run that has rows in that snapshot; None: the dataset held all of its pairs before."""
    error: str | None = None


class BackfillPlan(BaseModel):
    """What a backfill was asked for, so that another machine can go on with it."""

    model_config = ConfigDict(frozen=True)
    partitions: tuple[Partition, ...]
    """Those that were found, in order."""
    settings: BackfillSettings
    """How they were found."""
    config: RunConfig
    """The settings of each build; the prompts are those of all partitions."""


class Control(StrEnum):
    """What somebody wants of a backfill, from whichever machine."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class PartitionReport:
    """What became of one partition, or why nothing is done about it."""

    partition: str
    outcome: Literal["built", "done", "failed", "skipped", "open"]
    why: str


class Backfill:
    """One backfill by name, as it stands in the store of its dataset."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a backfill: expected up to 64 letters, digits, . _ -"
            )
        self.name, self._store, self._prefix = name, store, f"backfills/{name}/"
        self._leases = leases_below(store, f"backfill-{name}")
        self._runs: tuple[str, frozenset[str]] = ("", frozenset())
        """The snapshot that was current last, and the runs that have rows in it."""

    def write_plan(self, plan: BackfillPlan) -> None:
        """Keep what was asked for."""
        self._store.write(f"{self._prefix}plan.json", plan.model_dump_json().encode())

    def read_plan(self) -> BackfillPlan:
        """Return what was asked for last, about the dataset in which it was found.

        Raises:
            ConfigError: there is no backfill of this name.
        """
        plan = self._read("plan.json", BackfillPlan)
        if plan is None:
            raise ConfigError(
                f"{self._store.uri} knows no backfill {self.name!r}: name its dataset (--dataset), "
                f"or start it with `coupled backfill {self.name}` and its prompts (--prompts)"
            )
        # The folder may have been moved or copied since: what is written goes here alone.
        output = plan.config.output.model_copy(update={"uri": self._store.uri})
        config = plan.config.model_copy(update={"output": output})
        return plan.model_copy(update={"config": config})

    @property
    def retry_command(self) -> str:
        """What to type to have failed partitions built again, on any machine."""
        return f"coupled backfill retry-failed {self.name} --dataset {shlex.quote(self._store.uri)}"

    @property
    def control(self) -> Control:
        """What somebody wants of it; looked at before each partition."""
        try:
            return Control(self._store.read(f"{self._prefix}control").decode(errors="replace"))
        except NotFoundError:
            return Control.RUNNING
        except ValueError as error:
            then = "it then runs until it is paused or cancelled once more"
            raise self._name_damage("control", then) from error

    @control.setter
    def control(self, wanted: Control) -> None:
        self._store.write(f"{self._prefix}control", wanted.value.encode())

    def resume(self) -> None:
        """Let it go on after a pause.

        Raises:
            ConfigError: it was cancelled, which is for good.
        """
        if self.control is Control.CANCELLED:
            raise ConfigError(
                f"backfill {self.name!r} was cancelled: start another name, what is built is kept"
            )
        self.control = Control.RUNNING

    def read_state(self, partition: Partition) -> PartitionState | None:
        """Return what is known of a partition; None: it was never brought to an end."""
        return self._read(_key(partition), PartitionState)

    def describe(self, partition: Partition) -> PartitionReport:
        """Return what is known of a partition, without a look at its input."""
        state = self.read_state(partition)
        if state is not None:
            return PartitionReport(partition.name, state.status, state.error or _name_proof(state))
        holder = self._leases.find_holder(_hash(partition))
        return PartitionReport(
            partition.name, "open", f"{holder} works on it" if holder else "not begun"
        )

    def find_reason_to_skip(
        self, partition: Partition, config: RunConfig, reprocess: Reprocess
    ) -> str | None:
        """Return why nothing is to be done about a partition; None: it is to be built."""
        state = self.read_state(partition)
        is_failed = state is not None and state.status == "failed"
        if reprocess == "all":
            return None
        if reprocess == "failed":
            return None if is_failed else "it has not failed"
        if state is None or (state.input_etags, state.config_sha256) != _proof(partition, config):
            return None  # also where the input or the settings have changed since
        if is_failed:
            return f"it has failed ({state.error}); `{self.retry_command}` tries it again"
        runs = self._find_runs()
        if runs is None or (state.run_id and state.run_id not in runs):
            return None  # somebody has gone back to a snapshot of before
        return f"it is done: {_name_proof(state)}, same input and settings"

    def look(self, partition: Partition) -> Elsewhere | None:
        """Say whether another process builds a partition; None: it is free."""
        try:
            holder = self._leases.find_holder(_hash(partition))
        except StorageError:  # whoever begins it finds out, and tries more than once
            return None
        return Elsewhere(f"partition {partition.name} is worked on by {holder}") if holder else None

    def build(
        self,
        partition: Partition,
        config: RunConfig,
        reprocess: Reprocess,
        build: Callable[[RunConfig], RunSummary],
    ) -> PartitionReport | Elsewhere:
        """Build a partition if that is to be done, and write down what became of it.

        Args:
            config: The settings of each build but its prompts.
            reprocess: As in `BackfillSettings`.
            build: Builds a prompt set; what it raises is the partition's failure.

        Raises:
            LeaseLostError: this process was paused, and another one goes on with the partition.
            CoupledError: what would stop every other partition, too.
        """
        if (control := self.control) is not Control.RUNNING:
            return PartitionReport(partition.name, "open", f"the backfill is {control}")
        try:
            # Looked at again under the lease: another process may have built it since it was
            # listed.
            with self._leases.holding(_hash(partition)) as is_ours:
                if not is_ours:
                    return self.look(partition) or Elsewhere(f"{partition.name} was given up")
                if why := self.find_reason_to_skip(partition, config, reprocess):
                    return PartitionReport(partition.name, "skipped", why)
                return self._build(partition, config, build)
        finally:
            # Beats end with each partition and begin with the next: between two there is nothing to
            # hold.
            self._leases.close()

    def _build(
        self, partition: Partition, config: RunConfig, build: Callable[[RunConfig], RunSummary]
    ) -> PartitionReport:
        etags, config_sha256 = _proof(partition, config)
        found: dict[str, str | None]
        try:
            summary = build(config_of(partition, config))
        except LeaseLostError:
            raise
        except Exception as raised:
            if must_repeat(raised):  # it would fail every other partition, too, and blame them all
                raise
            # Where a signal came out as this, it stops us here and is no failure.
            current_progress().remark("build", "failed")
            error = clean_error(raised)
            found = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        else:
            # A build that found all of its pairs there adds no rows, and its run is in no snapshot.
            run = summary.run_id if summary.run_id in (self._find_runs() or ()) else None
            found = {"status": "done", "snapshot_id": summary.snapshot_id, "run_id": run}
        facts = {"name": partition.name, "input_etags": etags, "config_sha256": config_sha256}
        state = PartitionState.model_validate({**facts, **found})
        self._leases.renew(_hash(partition))  # what a former owner has found out does not count
        self._store.write(f"{self._prefix}{_key(partition)}", state.model_dump_json().encode())
        if state.status == "failed":
            return PartitionReport(partition.name, "failed", str(state.error))
        return PartitionReport(partition.name, "built", _name_proof(state))

    def _find_runs(self) -> frozenset[str] | None:
        """Return the runs that have rows in the dataset; None: it is empty.

        A snapshot names every part of a dataset. It is read once, not once a partition.
        """
        pointer = read_pointer(self._store)
        if pointer is None:
            return None
        if self._runs[0] != pointer.snapshot_id:
            snapshot = load_snapshot(self._store, pointer.snapshot_id)
            self._runs = pointer.snapshot_id, frozenset(snapshot.run_ids)
        return self._runs[1]

    def _read(self, name: str, model: type[M]) -> M | None:
        try:
            data = self._store.read(f"{self._prefix}{name}")
        except NotFoundError:
            return None
        try:
            return model.model_validate(parse_json(data, MAX_STORED_BYTES))
        except DAMAGE as error:
            raise self._name_damage(name, "what it says is found out anew") from error

    def _name_damage(self, name: str, then: str) -> StorageError:
        where = f"{self._store.uri}/{self._prefix}{name}"
        return StorageError(f"backfill {self.name!r}: {where} is damaged: delete it; {then}")


def open_backfill(config: RunConfig, name: str) -> Backfill:
    """Return a backfill of the dataset that the settings name, the same all over a process."""
    # A fork must not have the leases of its parent, and a relative path depends on the folder.
    return _open(os.getpid(), open_store(config.output.uri).uri, name)


@lru_cache(maxsize=4)
def _open(_pid: int, uri: str, name: str) -> Backfill:
    return Backfill(open_store(uri), name)


def plan_backfill(config: RunConfig, settings: BackfillSettings) -> BackfillPlan:
    """Return what a backfill of these prompts is about.

    Raises:
        CoupledError: as `list_partitions` does.
    """
    found = tuple(list_partitions(config.prompts, settings))
    return BackfillPlan(partitions=found, settings=settings, config=config)


def _proof(partition: Partition, config: RunConfig) -> tuple[tuple[str, ...], str]:
    """Return what must be the same for a partition to be done: its input, the settings."""
    config = settle_split(config)
    try:
        files = [file for uri in partition.uris for file in list_input_files(uri)]
        etags = tuple(file.read_etag() for file in files)
    except (PromptSetError, NotFoundError):
        etags = ()  # a file has gone since it was listed: its build says so, no other one's
    # A path may hold another schedule tomorrow: what settings resolve to counts, too.
    resolved = [fingerprint_of(generation_of(config.generation)), name_requests(config.split)[0]]
    return etags, run_id(config, resolved)


def _name_proof(state: PartitionState) -> str:
    return f"snapshot {state.snapshot_id}"


def _key(partition: Partition) -> str:
    """Return where a state lies; what a file is called is data, and never becomes a path."""
    return f"partitions/{_hash(partition)}.json"


def _hash(partition: Partition) -> str:
    return fingerprint({"partition": partition.name})[:32]
