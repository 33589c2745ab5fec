"""Random seed, the paper's baseline: each full prompt from the same noise by the stock pipeline."""

from torch import Tensor

from coupled_core.research.methods.method import Knobs
from coupled_core.research.methods.stock_model import StockModel
from coupled_core.research.methods.stock_run import StockMethod, StockRun


def build(model: StockModel) -> StockMethod:
    """Return the method on a model."""
    return StockMethod("random-seed", model, denoise)


def denoise(run: StockRun, _: Knobs) -> Tensor:
    """Denoise every image by itself."""
    run.expect(run.num_steps)
    return run.denoise(run.noise[run.sample_of_image], run.images)
