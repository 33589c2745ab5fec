"""What every format is made from: pairs with their images, and directed edits."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["forward", "backward"]
Directions = Literal["both", "forward", "backward"]

DIRECTIONS: Mapping[str, tuple[Direction, ...]] = {
    "both": ("forward", "backward"),
    "forward": ("forward",),
    "backward": ("backward",),
}
"""Forward turns image 0 into image 1."""


@dataclass(frozen=True)
class ImageFile:
    """One image of a pair as a file."""

    name: str
    """`<pair_id>-0` or `<pair_id>-1`: no prompt text, no dots."""
    data: bytes
    extension: str
    """png or webp."""
    sha256: str


@dataclass(frozen=True)
class ExportedPair:
    """A kept pair: its manifest row (the columns of `plan.COLUMNS`) and its images."""

    row: Mapping[str, Any]
    images: tuple[ImageFile, ImageFile]


@dataclass(frozen=True)
class DirectedEdit:
    """One training example: turn `source` into `target` by `instruction`."""

    direction: Direction
    source: ImageFile
    target: ImageFile
    instruction: str
    source_caption: str
    target_caption: str
    source_entity: str | None
    target_entity: str | None
    row: Mapping[str, Any]
    """The pair's manifest row."""

    @property
    def pair_id(self) -> str:
        """The pair that the edit comes from."""
        return str(self.row["pair_id"])

    @property
    def key(self) -> str:
        """Unique name of the edit; safe as a file name, without dots."""
        return f"{self.pair_id}-{self.direction}"

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height), the same for both images."""
        return int(self.row["width"]), int(self.row["height"])


@dataclass(frozen=True)
class SeenEdit:
    """An edit as a reader finds it in a finished export."""

    key: str
    source_sha256: str
    target_sha256: str
    instruction: str

    def digest(self) -> str:
        """Return a hash of all that must go together, 64 hex digits."""
        # An instruction is the only free text of the four, so the separator cannot be confused with
        # what it separates.
        parts = (self.key, self.source_sha256, self.target_sha256, self.instruction)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


INSTRUCTIONS: Mapping[Direction, str] = {
    "forward": "edit_instruction",
    "backward": "inverse_instruction",
}
"""Column of the manifest that says how a pair is edited in a direction."""


def edits_of(pair: ExportedPair, directions: Iterable[Direction]) -> Iterator[DirectedEdit]:
    """Yield the edits of a pair, one for each of the directions.

    Where the manifest has no instruction, the target's caption stands for it: what is shown last is
    all that readers who need no instruction can be told.
    """
    for direction in directions:
        first, second = (0, 1) if direction == "forward" else (1, 0)
        yield DirectedEdit(
            direction=direction,
            source=pair.images[first],
            target=pair.images[second],
            instruction=pair.row[INSTRUCTIONS[direction]] or pair.row[f"prompt_{second}"],
            source_caption=pair.row[f"prompt_{first}"],
            target_caption=pair.row[f"prompt_{second}"],
            source_entity=pair.row[f"entity_{first}"],
            target_entity=pair.row[f"entity_{second}"],
            row=pair.row,
        )


def seen_edit(edit: DirectedEdit) -> SeenEdit:
    """Return what a reader of the export has to find."""
    return SeenEdit(edit.key, edit.source.sha256, edit.target.sha256, edit.instruction)
