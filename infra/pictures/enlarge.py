"""Draws the first page's pairs: as they are in a dataset, each pixel a square of three.

    python -m infra.pictures.enlarge coupled-dataset snowfield-noon-rabbit-tent \\
        lake-noon-mushroom-tent beach-sunset-robot-rabbit mountains-sunset-car-robot-turtle-rabbit
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from coupled_core import open_dataset

PICTURE = Path(__file__).with_name("pairs.png")
_FACTOR, _COLUMNS = 3, 2
_GAP_PX, _SPACE_PX = 4, 24
"""Between the images of a pair, and between pairs; transparent, so that it suits any page."""


def enlarge(pairs: Sequence[tuple[Image.Image, Image.Image]]) -> Image.Image:
    """Return pairs of equal size in two columns, enlarged without interpolation."""
    side = pairs[0][0].width * _FACTOR
    width = 2 * side + _GAP_PX
    rows = -(-len(pairs) // _COLUMNS)
    size = (_COLUMNS * (width + _SPACE_PX), rows * (side + _SPACE_PX))
    sheet = Image.new("RGBA", tuple(length - _SPACE_PX for length in size))
    for i, pair in enumerate(pairs):
        row, column = divmod(i, _COLUMNS)
        for k, image in enumerate(pair):
            place = column * (width + _SPACE_PX) + k * (side + _GAP_PX), row * (side + _SPACE_PX)
            sheet.paste(image.resize((side, side), Image.Resampling.NEAREST), place)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("groups", nargs="+")
    wanted = parser.parse_args()
    found: dict[str, tuple[Image.Image, Image.Image]] = {}
    for pair in open_dataset(wanted.dataset):
        found.setdefault(pair.row["group_id"], (pair.image_0, pair.image_1))
    enlarge([found[group] for group in wanted.groups]).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
