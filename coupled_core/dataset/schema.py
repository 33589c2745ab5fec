"""The Arrow schemas of the two kinds of parts; they only ever grow."""

import json

import pyarrow as pa

from coupled_core.dataset.columns import COLUMNS
from coupled_core.errors import DatasetError

SCHEMA_VERSION = "1.0"
"""major.minor: minor grows with each new column; a new major could not be read by old readers."""

IMAGE_FIELDS = ("image_0", "image_1", "mask_0", "mask_1")
_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


def _hugging_face_features() -> str:
    features = {"pair_id": {"dtype": "string", "_type": "Value"}}
    images: dict[str, dict[str, str]] = {name: {"_type": "Image"} for name in IMAGE_FIELDS}
    return json.dumps({"info": {"features": {**features, **images}}})


MANIFEST_SCHEMA = pa.schema(
    [
        pa.field(c.name, c.type, not c.required, {"meaning": c.meaning, "stage": c.stage})
        for c in COLUMNS
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)  # fmt: skip
"""One row a pair, kept and dropped; no image bytes."""

IMAGES_SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        *(pa.field(n, _IMAGE) for n in IMAGE_FIELDS),
    ],
    metadata={"schema_version": SCHEMA_VERSION, "huggingface": _hugging_face_features()},
)
"""One row a kept pair. Masks are 8-bit grey, 255 on the entity. `datasets` decodes all four."""


def check_schema_version(found: str, where: str) -> None:
    """Refuse data of a newer major version.

    Raises:
        DatasetError: this package cannot read it.
    """
    if found.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise DatasetError(
            f"{where} has schema version {found}, this package reads {SCHEMA_VERSION}: update it"
        )
