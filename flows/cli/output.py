"""Writes the files that -o asks for."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from coupled_core.errors import ConfigError

if TYPE_CHECKING:
    from coupled_core.dataset.upkeep.regen import Picture


def write_file(path: Path, data: bytes) -> None:
    """Write a result where the user asked for it.

    Raises:
        ConfigError: that is not possible.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _refuse(path, error) from error


def require_writable(path: Path) -> None:
    """Refuse a place where a file cannot be written, before the work begins that would fill it.

    Raises:
        ConfigError: it cannot be written there.
    """
    try:
        is_new = not path.exists()
        # To append changes nothing of a file that is there.
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise _refuse(path, error) from error


def _refuse(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write {path}: {error.strerror}; name another with -o")


def write_picture(path: Path, rows: "Sequence[Sequence[Picture]]", gap_px: int = 0) -> None:
    """Write rows of images of one size as a PNG, the images of a row with a white gap between them.

    Raises:
        ConfigError: that is not possible.
    """
    import numpy as np
    from PIL import Image

    def join(images: "Sequence[Picture]") -> "Picture":
        gap = np.full((images[0].shape[0], gap_px, 3), 255, np.uint8)
        return np.hstack([part for image in images for part in (image, gap)][:-1])

    buffer = BytesIO()
    Image.fromarray(np.vstack([join(images) for images in rows])).save(buffer, "PNG")
    write_file(path, buffer.getvalue())
