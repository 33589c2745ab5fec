import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry

from coupled_core.errors import ModelUnavailableError
from coupled_core.scoring.sam import SamArchitecture, build_sam, load_sam, save_sam

TINY = SamArchitecture(
    img_size=64, patch_size=8, embed_dim=32, depth=1, num_heads=2, prompt_embed_dim=32
)


@pytest.fixture
def tiny_sam():
    torch.manual_seed(0)
    return build_sam(TINY)


def test_batched_point_prompts_give_three_boolean_masks_of_the_original_size(tiny_sam):
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8))
    coords = predictor.transform.apply_coords(np.array([[10.0, 10.0], [90.0, 40.0]]), (48, 96))
    masks, ious, _ = predictor.predict_torch(
        torch.as_tensor(coords, dtype=torch.float32)[:, None],
        torch.ones(2, 1),
        multimask_output=True,
    )
    assert masks.shape == (2, 3, 48, 96)
    assert masks.dtype == torch.bool
    assert ious.shape == (2, 3)


def test_a_saved_model_loads_with_the_same_weights_up_to_half_precision(tiny_sam, tmp_path):
    save_sam(tiny_sam, TINY, tmp_path)
    loaded = load_sam(str(tmp_path), "cpu")
    for name, value in tiny_sam.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_the_published_types_are_in_the_registry():
    assert {"vit_h", "vit_l", "vit_b"} <= set(sam_model_registry)


def test_a_missing_checkpoint_says_where_to_get_one(tmp_path):
    with pytest.raises(ModelUnavailableError, match="download the vit_b one"):
        load_sam(f"vit_b:{tmp_path / 'none.pth'}", "cpu")


def test_a_pickle_that_is_no_checkpoint_is_refused_without_running_it(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"model": torch.nn.Linear(2, 2)}, path)  # a pickled object, not tensors
    with pytest.raises(ModelUnavailableError, match="is not a vit_b"):
        load_sam(f"vit_b:{path}", "cpu")


def test_an_unknown_name_says_what_was_expected():
    with pytest.raises(ModelUnavailableError, match="TYPE:PATH"):
        load_sam("no-such-folder", "cpu")
