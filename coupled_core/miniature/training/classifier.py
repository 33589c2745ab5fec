"""Trains the scene classifier on independent scenes."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from coupled_core.miniature.classifier import HEADS, NOTHING, SceneClassifier, save_classifier
from coupled_core.miniature.training.augment import soften
from coupled_core.miniature.training.data import SceneSet
from coupled_core.miniature.training.loop import LoopConfig, train
from coupled_core.miniature.training.vae import to_pixels

BATCH_SIZE = 64


def train_classifier(
    data: SceneSet, work_dir: Path, num_steps: int, device: torch.device, folder: Path
) -> None:
    """Train all heads together and write the model."""
    torch.manual_seed(5)
    classifier = SceneClassifier().to(device)
    labels = {
        name: np.array([classes.index(getattr(scene, name) or NOTHING) for scene in data.scenes])
        for name, classes in HEADS.items()
    }

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((5, step))
        rows = np.sort(rng.integers(len(data.scenes), size=BATCH_SIZE))
        logits = classifier(soften(to_pixels(data.images[rows]).to(device), rng))
        losses = [
            functional.cross_entropy(logits[name], torch.from_numpy(labels[name][rows]).to(device))
            for name in HEADS
        ]
        return torch.stack(losses).sum()

    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3, betas=(0.9, 0.98))
    config = LoopConfig("classifier", num_steps, ema_decay=0.99)
    train(config, classifier, [optimizer], loss_at, work_dir)
    save_classifier(classifier, folder)
