"""The scene classifier: names what a picture of the miniature's world shows; trained here."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from coupled_core.research.drawn_world.scenes import BACKGROUNDS, COLOURS, ENTITIES, LIGHTS
from coupled_core.research.training.data import SceneSet, soften, to_pixels
from coupled_core.research.training.loop import LoopConfig, train

NOTHING = "nothing"
HEADS = {
    "background": BACKGROUNDS,
    "light": LIGHTS,
    "entity": (*ENTITIES, NOTHING),
    "colour": (*COLOURS, NOTHING),
}


@dataclass(frozen=True)
class SceneReading:
    """What the classifier sees in one picture; `NOTHING` where there is no entity."""

    background: str
    light: str
    entity: str
    colour: str


class SceneClassifier(nn.Module):
    """A small convolutional network with one head a property."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels = 3
        for level, stride in enumerate((2, 2, 1, 2, 1)):
            out = width * 2 ** ((level + 1) // 2)
            stages += [nn.Conv2d(channels, out, 3, stride, 1), nn.GroupNorm(8, out), nn.GELU()]
            channels = out
        self.trunk = nn.Sequential(*stages)
        self.heads = nn.ModuleDict({k: nn.Linear(2 * channels, len(v)) for k, v in HEADS.items()})

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return logits by property of pixels (B, 3, 64, 64) in [-1, 1]."""
        features = self.trunk(pixels)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return {name: head(pooled) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images: np.ndarray) -> list[SceneReading]:
        """Classify uint8 images (B, 64, 64, 3)."""
        logits = self(to_pixels(images))
        best = {name: values.argmax(dim=1).tolist() for name, values in logits.items()}
        columns = [[HEADS[name][i] for i in best[name]] for name in HEADS]
        return [SceneReading(*row) for row in zip(*columns, strict=True)]


def save_classifier(classifier: SceneClassifier, folder: Path) -> None:
    """Write float16 weights and the names of the classes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(HEADS, indent=2) + "\n")
    save_file(
        {k: v.half() for k, v in classifier.state_dict().items()}, folder / "model.safetensors"
    )


def load_classifier(folder: Path) -> SceneClassifier:
    """Load what `save_classifier` wrote."""
    classifier = SceneClassifier()
    weights = load_file(folder / "model.safetensors")
    classifier.load_state_dict({k: v.float() for k, v in weights.items()})
    return classifier.eval()


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
