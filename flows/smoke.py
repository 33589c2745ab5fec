"""A small build and its verification, which show that an installation works from end to end."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import runtime

from coupled_core.config import RunSettings
from coupled_core.runs.profiles import Profile
from coupled_core.storage.open_store import open_store
from flows.build_dataset import build_dataset
from flows.policy import observed_flow
from flows.verify_dataset import verify_dataset

_GROUPS = [
    {
        "group_id": "beach",
        "prompts": [
            "A red kite flies over a beach at noon",
            "A blue balloon floats over a beach at noon",
        ],
    },
    {
        "group_id": "meadow",
        "prompts": [
            "A yellow car stands in a meadow at dusk",
            "A green boat stands in a meadow at dusk",
        ],
    },
]
_FAST = {"generation": {"num_inference_steps": 4}, "output": {"store_dropped": True}}
"""Too few steps for good pairs: that all of them are stored is what is tried here."""


@observed_flow("smoke", "smoke", "output")
def smoke(
    output: str = "coupled-smoke", profile: Profile = "miniature", keep: bool = False
) -> dict[str, Any]:
    """Build four images into a dataset of its own, verify it, and remove it again.

    Args:
        output: A folder or s3://BUCKET/PREFIX; each run has a place of its own below.
        profile: Models to load: generator, Segment Anything and CLIP.
        keep: Leave what was built.

    Raises:
        CoupledError: it does not work, and why.
    """
    place = f"{output.rstrip('/')}/{runtime.flow_run.id}"
    store, buffer = open_store(place), io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_GROUPS), buffer)
    store.write("prompts.parquet", buffer.getvalue())
    dataset = f"{place}/pairs"
    summary = build_dataset(
        prompts=f"{place}/prompts.parquet",
        output=dataset,
        profile=profile,
        config=RunSettings.model_validate(_FAST),
    )
    facts = verify_dataset(dataset=dataset)
    if not keep:
        # The list first: deleting under a listing that is still being read may skip keys.
        for key in [info.key for info in store.list("")]:
            store.delete(key)
    return {**facts, "run": summary.run_id}
