"""DiffSynth-Studio's own loader reads our exports, where that package is installed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coupled_core.storage.local import LocalStore
from tests.unit.export.export_samples import commit_pairs, export

loader = pytest.importorskip("diffsynth.core.data.unified_dataset")


def test_targets_sources_and_prompts_are_those_of_the_export(tmp_path: Path) -> None:
    store, root = LocalStore(tmp_path / "pairs"), tmp_path / "out"
    report = export(store, commit_pairs(store), "diffsynth", root)
    keys = ("image", "kontext_images", "edit_image")
    found = loader.UnifiedDataset(
        base_path=str(root),
        metadata_path=str(root / "metadata.jsonl"),
        data_file_keys=keys,
        main_data_operator=loader.UnifiedDataset.default_image_operator(base_path=str(root)),
    )
    assert len(found) == report.marker["num_edits"]
    for index, told in enumerate(found.data):
        shown = found[index]
        for key in keys:
            assert np.array_equal(np.asarray(shown[key]), np.asarray(Image.open(root / told[key])))
        assert shown["prompt"].startswith("Turn ")


def test_a_video_that_was_rendered_between_the_frames_is_found_with_its_prompt(
    tmp_path: Path,
) -> None:
    store, root = LocalStore(tmp_path / "pairs"), tmp_path / "out"
    export(store, commit_pairs(store), "flf2v", root)
    found = loader.UnifiedDataset(metadata_path=str(root / "metadata.csv"), repeat=1)
    (root / "videos").mkdir()
    for row in found.data:
        frames = [Image.open(root / row[name]) for name in ("input_image", "end_image")]
        clip = [Image.blend(*frames, share / 4) for share in range(5)]
        path = root / row["video"].replace(".mp4", ".gif")
        clip[0].save(path, save_all=True, append_images=clip[1:])
        load = loader.UnifiedDataset.default_video_operator(
            base_path=str(root), height=16, width=16
        )
        seen = load(row["video"].replace(".mp4", ".gif"))
        assert len(seen) == 5
        assert row["prompt"].startswith("Turn ")
