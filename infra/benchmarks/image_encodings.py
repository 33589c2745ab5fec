"""What lossless encodings of an image cost: seconds to encode and decode, and bytes.

    python -m infra.benchmarks.image_encodings [--sides-px 256 512 1024] [--images 4] [--repeats 3]
        [--json]

Images are scenes of the miniature's world, enlarged, with noise of 2 of 255 as photographs have.
`png-N` is Pillow's zlib level, `webp-Q-M` its lossless quality and method; what a dataset stores is
marked. Each turn encodes all images in every encoding; ratios are to Pillow's default PNG, run by
run: above 1 is faster, and fewer bytes.
"""

import io
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from coupled_core.dataset.images import encode_image
from coupled_core.research.drawn_world.scenes import sample_scene
from infra.benchmarks.arguments import build_parser
from infra.benchmarks.shard_pipeline import draw_picture

_DEFAULT = "png-6"


def _encode(image: np.ndarray, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **settings)
    return buffer.getvalue()


def _png(level: int) -> Callable[[np.ndarray], bytes]:
    return lambda image: _encode(image, format="PNG", compress_level=level)


def _webp(quality: int, method: int) -> Callable[[np.ndarray], bytes]:
    settings = {"format": "WEBP", "lossless": True, "exact": True}
    return lambda image: _encode(image, **settings, quality=quality, method=method)


ENCODINGS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    _DEFAULT: _png(6),
    **{f"png-{level}": _png(level) for level in (1, 2, 3, 4, 9)},
    **{f"webp-{quality}-{method}": _webp(quality, method) for quality, method in ((0, 0), (25, 1))},
    "webp-80-4": _webp(80, 4),
}


def find_stored(image: np.ndarray) -> dict[str, str]:
    """Return which encodings a dataset stores, by its format: those of the same bytes."""
    stored = {name: encode_image(image, name).data for name in ("png", "webp")}
    found = {name: encode(image) for name, encode in ENCODINGS.items()}
    return {kind: name for kind, data in stored.items() for name in found if found[name] == data}


def measure(side_px: int, num_images: int, repeats: int) -> list[dict[str, Any]]:
    """Return a row an encoding: seconds of the CPU and bytes for all images."""
    rng = np.random.default_rng(side_px)
    images = [
        draw_picture(rng, sample_scene(rng, dependence=0.0), side_px) for _ in range(num_images)
    ]
    stored = find_stored(images[0]).values()
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ENCODINGS}
    num_bytes: dict[str, int] = {}
    for repeat in range(-1, repeats):  # the first warms up
        for name, encode in ENCODINGS.items():
            times = [time.process_time()]
            data = [encode(image) for image in images]
            times.append(time.process_time())
            decoded = [np.asarray(Image.open(io.BytesIO(each))) for each in data]
            times.append(time.process_time())
            assert all(map(np.array_equal, decoded, images)), f"{name} loses something"
            if repeat >= 0:
                runs[name].append((times[1] - times[0], times[2] - times[1]))
            num_bytes[name] = sum(map(len, data))
    pixels = num_images * side_px**2
    return [
        {
            "side_px": side_px,
            "encoding": name,
            "is_stored": name in stored,
            "bytes_a_pixel": num_bytes[name] / pixels,
            "bytes_ratio": num_bytes[_DEFAULT] / num_bytes[name],
            "encode_ns_a_pixel": [1e9 * encode / pixels for encode, _ in found],
            "decode_ns_a_pixel": [1e9 * decode / pixels for _, decode in found],
            "speed_ratio": [
                default / encode
                for (default, _), (encode, _) in zip(runs[_DEFAULT], found, strict=True)
            ],
        }
        for name, found in runs.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a row an encoding and size."""
    parser = build_parser(__doc__)
    parser.add_argument(
        "--sides-px",
        type=int,
        nargs="+",
        default=[256, 512, 1024],
        metavar="N",
        help="widths of the square images",
    )
    parser.add_argument("--images", type=int, default=4, metavar="N", help="images of each width")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="turns")
    parser.add_argument("--json", action="store_true", help="print JSON, a line a row")
    options = parser.parse_args(arguments)
    for side_px in options.sides_px:
        for row in measure(side_px, options.images, options.repeats):
            print(json.dumps(row) if options.json else _render(row), flush=True)


def _render(row: Mapping[str, Any]) -> str:
    encode, decode = (statistics.median(row[f"{name}_ns_a_pixel"]) for name in ("encode", "decode"))
    ratios = row["speed_ratio"]
    spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
    return (
        f"{row['side_px']:>5} px {row['encoding'] + '*' * row['is_stored']:<10} "
        f"{row['bytes_a_pixel']:.3f} bytes a pixel (1/{row['bytes_ratio']:.2f})  encoded "
        f"{encode:.0f} ns a pixel, {spread} times as fast  decoded {decode:.0f} ns  "
        f"n = {len(ratios)}"
    )


if __name__ == "__main__":
    main()
