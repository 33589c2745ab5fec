"""A build that stores backgrounds: outside its region each image is the stored background."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from coupled_core import build_dataset, open_dataset
from coupled_core.dataset.columns import IMAGES_AND_BACKGROUND_SCHEMA
from coupled_core.dataset.reader import find_snapshot
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.storage.open_store import open_store
from tests.coupled_command import write_prompts


def test_outside_its_region_each_stored_image_is_the_stored_background(tmp_path: Path) -> None:
    groups = pq.read_table(write_prompts(tmp_path / "set.parquet", num_groups=1)).to_pylist()
    dataset = build_dataset(groups, tmp_path / "pairs", store_background=True)
    assert len(dataset) > 0
    for pair in dataset:
        assert pair.background is not None
        background = np.asarray(pair.background)
        for image, region in ((pair.image_0, pair.region_0), (pair.image_1, pair.region_1)):
            outside = np.asarray(region) == 0
            assert 0.1 < outside.mean() < 0.9
            np.testing.assert_array_equal(np.asarray(image)[outside], background[outside])
            assert (np.asarray(image)[~outside] != background[~outside]).any()
    [part] = dataset.files()["images"]
    assert pq.read_schema(part).equals(IMAGES_AND_BACKGROUND_SCHEMA, check_metadata=True)
    store = open_store(str(tmp_path / "pairs"))
    assert verify_snapshot(store, find_snapshot(store, "current")).is_whole
    with pytest.raises(DatasetError, match=r"store_background is 'False' here and 'True' there"):
        build_dataset(groups, tmp_path / "pairs", seed=1)
    assert len(open_dataset(tmp_path / "pairs")) == len(dataset)
