"""What is done with a finished dataset: what a collection of garbage leaves, what is exported."""

from typing import Literal

from pydantic import Field

from coupled_core.config.base import Settings


class Retention(Settings, title="What stays"):
    """What a collection of garbage leaves alone, beyond what always stays."""

    keep_snapshots: int | None = Field(default=None, ge=1)
    """Remove snapshots beyond so many of the newest. Default: none."""
    older_than: float | None = Field(default=None, ge=0)
    """Remove snapshots older than so many days. Default: none."""
    grace: float = Field(default=24.0, ge=2)
    """Hours in which nothing that was written is removed."""
    abandoned_work: float | None = Field(default=None, ge=0)
    """Also remove work of unfinished shards, untouched for so many days. Default: none."""


class ExportSettings(Settings, title="What is exported"):
    """Which edits an export holds, and how it is cut into files."""

    partition: Literal["train", "val", "test", "all"] | None = None
    """Default: all where a format keeps partitions apart, else train."""
    directions: Literal["both", "forward", "backward"] = "both"
    """Forward edits image 0 into image 1, backward 1 into 0."""
    include_entity_swap: bool = False
    """In flf2v: swaps of an entity too."""
    max_shard_bytes: int | None = Field(default=None, ge=1)
    """Image bytes a shard, or a step of a folder. Default: the format's."""
    absolute_paths: bool = False
    """Name files by whole paths, for trainers that are started elsewhere."""
