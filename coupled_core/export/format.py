"""Every export format: its name and words here, its layout in `formats/` or in another package.

Nothing heavy is imported before a format is used, so that help texts are quick.
"""

# ruff: noqa: E501  (a table reads best with one format a line)

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from coupled_core.errors import ConfigError
from coupled_core.plugins import find_plugins

if TYPE_CHECKING:
    from coupled_core.export.edits import DirectedEdit, SeenEdit
    from coupled_core.export.folder import ExportFolder, FileInfo, UnitId
    from coupled_core.export.plan import ExportPlan

_SHIPPED: Mapping[str, tuple[str, str]] = {
    "diffusers-instruct-pix2pix": ("parquet:INSTRUCT_PIX2PIX", "Parquet for diffusers' train_instruct_pix2pix"),
    "diffusers-instruct-pix2pix-folder": ("image_folder:IMAGE_FOLDER", "the same as an ImageFolder with metadata.parquet"),
    "diffusers-kontext": ("parquet:KONTEXT", "Parquet for diffusers' Kontext LoRA and FLUX control trainers"),
    "ai-toolkit": ("ai_toolkit:AI_TOOLKIT", "folders of targets with captions, and of sources with equal stems"),
    "musubi-tuner": ("musubi:MUSUBI_TUNER", "JSONL and TOML for FLUX.1 Kontext, FLUX.2, Qwen-Image-Edit in musubi-tuner"),
    "musubi-framepack": ("musubi:MUSUBI_FRAMEPACK", "JSONL and TOML for FramePack one-frame training in musubi-tuner"),
    "diffsynth": ("diffsynth:DIFFSYNTH", "JSONL with paths relative to a base, for DiffSynth-Studio"),
    "simpletuner": ("simpletuner:SIMPLETUNER", "two backends with equal file names and Parquet metadata, for SimpleTuner"),
    "diffusion-pipe": ("diffusion_pipe:DIFFUSION_PIPE", "a folder a size of targets with captions.json and sources with equal stems, TOML"),
    "onetrainer": ("onetrainer:ONETRAINER", "targets, each with its source and its instruction beside it, for OneTrainer"),
    "multi-turn": ("multi_turn:MULTI_TURN", "JSONL of chains of edits through groups of three and more images"),
    "webdataset": ("webdataset:WEBDATASET", "tar shards of KEY.input.png, KEY.output.png, KEY.json"),
    "huggingface": ("hugging_face:HUGGING_FACE", "Parquet with all columns, a dataset card and Croissant metadata"),
    "flf2v": ("flf2v:FLF2V", "first and last frames of videos (variations of one entity, not swaps)"),
    "card": ("description:CARD_ONLY", "the dataset card alone: README.md with a YAML header"),
    "croissant": ("description:CROISSANT_ONLY", "Croissant 1.1 JSON-LD of the dataset's own parts, with checksums"),
}  # fmt: skip
"""Place in `formats/` and words for people, by the name that `coupled export` takes.

These names always mean these formats, whatever other packages register."""


class UnitWriter(Protocol):
    """Takes the edits of one unit, in order; its files appear when it is closed."""

    def add(self, edit: "DirectedEdit") -> None:
        """Write an edit."""

    def close(self) -> "tuple[FileInfo, ...]":
        """Finish the unit and return its files."""

    def abort(self) -> None:
        """Drop what was not finished."""


class ExportFormat(Protocol):
    """One layout for one family of readers.

    A unit holds the same edits in every attempt, so writing it twice gives the same bytes.
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def keeps_partitions(self) -> bool:
        """Partitions stand side by side; other formats hold one."""

    @property
    def as_png(self) -> bool:
        """Its readers expect PNG files, whatever the dataset stores."""

    @property
    def writes_edits(self) -> bool:
        """False: it only describes the dataset, so no image is read."""

    @property
    def max_shard_bytes(self) -> int:
        """Image bytes a unit, unless the user says otherwise."""

    def open_unit(self, unit: "UnitId", folder: "ExportFolder", plan: "ExportPlan") -> UnitWriter:
        """Begin a unit."""

    def finish(self, folder: "ExportFolder", plan: "ExportPlan") -> "tuple[FileInfo, ...]":
        """Write what describes all units together: indices, trainers' configuration."""

    def read_back(self, root: Path) -> "Iterator[SeenEdit]":
        """Yield every edit that a reader of the finished folder gets, pairing as it does."""


def describe_formats() -> dict[str, str]:
    """Return what people are told about each format, by name, without loading any."""
    others = (entry.name for entry in entry_points(group="coupled_images.export_formats"))
    registered = dict.fromkeys(others, "a format that another installed package registers")
    return {**registered, **{name: words for name, (_, words) in _SHIPPED.items()}}


def find_format(name: str) -> ExportFormat:
    """Return a format of this package, or one that another package registers.

    Raises:
        ConfigError: there is none of that name, or the other package's does not load.
    """
    if name in _SHIPPED:
        module, _, attribute = _SHIPPED[name][0].partition(":")
        shipped = import_module(f"coupled_core.export.formats.{module}")
        return cast(ExportFormat, getattr(shipped, attribute))
    registered = find_plugins("export_formats")
    if name not in registered:
        known = ", ".join([*_SHIPPED, *registered])
        raise ConfigError(f"unknown format {name!r}: expected one of {known}")
    found = cast(ExportFormat, registered[name])
    if found.name != name:  # the name goes into export.json, from which people export again
        raise ConfigError(
            f"the format registered as {name!r} calls itself {found.name!r}: give both one name"
        )
    return found
