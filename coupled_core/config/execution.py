"""How a run is carried out, and which partitions a backfill builds."""

from typing import Literal

from pydantic import Field

from coupled_core.config.base import Settings

Runner = Literal["here", "processes", "ray", "deployment"]


class ExecutionConfig(Settings, title="Carrying it out"):
    """How a run is carried out: nothing in here changes a row or the name of a run."""

    runner: Runner = "here"
    """Where shards are built. here: one after another in this process. processes: in a process a
    device, which loads the models once. ray: on a Ray cluster. deployment: by runs of a Prefect
    deployment, each of a range of shards."""
    workers: int | None = Field(default=None, ge=1)
    """Most shards, or runs of a deployment, at a time. Default: as many as there are GPUs."""
    ray_address: str | None = None
    """Address of a Ray cluster. Default: one on this machine is started."""
    deployment: str | None = None
    """Deployment whose runs build ranges of shards, as FLOW/NAME, for runner deployment."""
    shards_per_run: int = Field(default=100, ge=1)
    """Shards of a run of that deployment."""
    commit_every: int = Field(default=64, ge=1)
    """Finished shards that are committed together while a run goes on. Of near-duplicates in two
    commits the earlier pair stays, not the better one."""
    max_failed_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Stop once more than this share of recent pairs has failed; 1: never."""
    max_rejected_share: float = Field(default=0.98, gt=0.0, le=1.0)
    """Stop once more than this share of recent pairs was made and then rejected; 1: never."""
    budget_window: int = Field(default=512, ge=1)
    """Pairs that are recent, and the fewest that stop a run."""
    max_shard_failures: int = Field(default=3, ge=1)
    """Failed runs after which a shard is set aside: listed, and not tried again."""


class BackfillSettings(Settings, title="Partitions"):
    """Which partitions of the prompts a backfill builds, in which order, how many at a time."""

    by: str = "file"
    """What makes a partition: file, or the key of folders such as date=2026-11-01 (here: date)."""
    first: str | None = None
    """First date or number to build, as it stands in the partitions' names. Default: no bound."""
    last: str | None = None
    """Last date or number to build. Default: no bound."""
    partition: tuple[str, ...] = ()
    """Partitions to build, by name; several, separated by commas. Default: all."""
    reprocess: Literal["missing", "failed", "all"] = "missing"
    """missing: what is neither done nor failed, or has changed since. failed: what has failed. all:
    every partition; pairs that the dataset holds are never made again."""
    newest_first: bool = False
    """Begin with the last date, number or name."""
    max_parallel: int = Field(default=1, ge=1)
    """Partitions that are built at a time, each in a process with models, and a GPU, of its own."""
