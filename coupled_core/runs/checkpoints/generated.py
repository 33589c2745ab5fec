"""`generated/batch-*.parquet`: the images of a batch, encoded once and for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from coupled_core.dataset.images import EncodedImage, ImageFormat, decode_image, encode_image
from coupled_core.records import GeneratedSample, Rejection, RejectReason
from coupled_core.runs.checkpoints.folder import ShardFolder

STAGE = "generated"
_IMAGE = pa.struct([("data", pa.binary()), ("sha256", pa.string()), ("phash", pa.string())])
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("images", pa.list_(_IMAGE)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("generate_seconds", pa.float64()),
        ("device_name", pa.string()),
        ("reject_reason", pa.string()),
        ("reject_message", pa.string()),
    ]
)


@dataclass(frozen=True)
class EncodedSample:
    """The images of a sample as they are stored."""

    images: tuple[EncodedImage, ...]
    size_px: tuple[int, int]
    """(width, height)."""
    generate_seconds: float
    device_name: str

    def decode(self) -> GeneratedSample:
        """Return the pixels."""
        return GeneratedSample(
            images=tuple(decode_image(image.data) for image in self.images),
            generate_seconds=self.generate_seconds,
            device_name=self.device_name,
        )


Generated = EncodedSample | Rejection


def encode_sample(sample: GeneratedSample, image_format: ImageFormat) -> EncodedSample:
    """Return the images of a sample as bytes, with their hashes."""
    height, width = sample.images[0].shape[:2]
    return EncodedSample(
        images=tuple(encode_image(image, image_format) for image in sample.images),
        size_px=(width, height),
        generate_seconds=sample.generate_seconds,
        device_name=sample.device_name,
    )


def write_generated(folder: ShardFolder, batch: int, samples: Mapping[str, Generated]) -> None:
    """Store a finished batch, by key of the sample."""
    rows = [{"key": key, **_plain(sample)} for key, sample in samples.items()]
    folder.write_table(STAGE, batch, pa.Table.from_pylist(rows, schema=_SCHEMA))


def parse_generated(table: pa.Table) -> dict[str, Generated]:
    """Return a stored batch, by key of the sample."""
    return {row["key"]: _parse(row) for row in table.to_pylist()}


def _plain(sample: Generated) -> dict[str, Any]:
    if isinstance(sample, Rejection):
        return {"reject_reason": sample.reason.value, "reject_message": sample.message}
    return {
        "images": [vars(image) for image in sample.images],
        "width": sample.size_px[0],
        "height": sample.size_px[1],
        "generate_seconds": sample.generate_seconds,
        "device_name": sample.device_name,
    }


def _parse(row: dict[str, Any]) -> Generated:
    if row["reject_reason"] is not None:
        return Rejection(RejectReason(row["reject_reason"]), row["reject_message"])
    return EncodedSample(
        images=tuple(EncodedImage(**image) for image in row["images"]),
        size_px=(row["width"], row["height"]),
        generate_seconds=row["generate_seconds"],
        device_name=row["device_name"],
    )
