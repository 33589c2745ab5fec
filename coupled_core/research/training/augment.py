"""Makes renders look a little like generated pictures.

So that the judges are not thrown by soft edges.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def soften(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur each picture by a random amount and add faint noise.

    Args:
        pixels: float (B, 3, H, W) in [-1, 1].
    """
    blurred = functional.avg_pool2d(
        functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1
    )
    amount = torch.from_numpy(rng.uniform(0, 0.9, len(pixels)).astype(np.float32)).view(-1, 1, 1, 1)
    noise = torch.from_numpy(rng.standard_normal(pixels.shape, dtype=np.float32))
    level = torch.from_numpy(rng.uniform(0, 0.05, len(pixels)).astype(np.float32)).view(-1, 1, 1, 1)
    amount, noise, level = (value.to(pixels.device) for value in (amount, noise, level))
    return (pixels.lerp(blurred, amount) + noise * level).clamp(-1, 1)
