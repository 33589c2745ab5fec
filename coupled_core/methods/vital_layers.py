"""Which layers of a model are vital: shipped where measured or published, else measured here."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from diffusers import FluxTransformer2DModel

from coupled_core.config import PromptSetConfig, SplitConfig
from coupled_core.methods.stock_model import StockModel
from coupled_core.methods.vitality import measure_vitality
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import GroupSplit, PromptGroup, Sample
from coupled_core.splitting.splitter import build_splitter

SHIPPED_FOLDER = Path(__file__).parent / "shipped"
_NUM_GROUPS = 4
"""Example groups that a model without a file is measured on when it is loaded."""


@dataclass(frozen=True)
class VitalLayers:
    """The layers of a model by how much its images change without them."""

    base_model: str
    base_model_revision: str | None
    """None where it was published without one."""
    num_double_blocks: int
    num_single_blocks: int
    """The file serves every model of this geometry: fine-tunes keep their base model's layers."""
    ranked: tuple[str, ...]
    """Blocks, the most vital first; where published, the vital ones alone."""
    num_vital: int
    """How many of them count as vital."""
    vitality: Mapping[str, float]
    """By block, see `vitality.measure_vitality`; empty where published without numbers."""
    source: str
    """How it was found."""


def find_vital_layers(model: StockModel) -> VitalLayers:
    """Return what is shipped for the model's geometry, or measure on a few example prompts."""
    geometry = _geometry(model.transformer)
    for path in sorted(SHIPPED_FOLDER.glob("*-vital-layers.json")):
        layers = load_vital_layers(path)
        if (layers.num_double_blocks, layers.num_single_blocks) == geometry:
            return layers
    return measure_vital_layers(model, read_samples("miniature", _NUM_GROUPS))


def measure_vital_layers(model: StockModel, samples: list[Sample]) -> VitalLayers:
    """Measure every layer; those above the mean count as vital."""
    vitality = measure_vitality(model, samples)
    ranked = sorted(vitality, key=lambda block: -vitality[block])
    mean = sum(vitality.values()) / len(vitality)
    num_double, num_single = _geometry(model.transformer)
    return VitalLayers(
        base_model=model.provenance.base_model,
        base_model_revision=model.provenance.base_model_revision,
        num_double_blocks=num_double,
        num_single_blocks=num_single,
        ranked=tuple(ranked),
        num_vital=sum(value > mean for value in vitality.values()),
        vitality={block: round(vitality[block], 4) for block in ranked},
        source=(
            f"measured: each layer bypassed, 1 - mean SSIM to the whole model's images over "
            f"{sum(len(sample.group.prompts) for sample in samples)} images of "
            f"{model.provenance.num_inference_steps} steps; vital are those above the mean"
        ),
    )


def load_vital_layers(path: Path) -> VitalLayers:
    """Read a file that `save_vital_layers` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return VitalLayers(**{**content, "ranked": tuple(content["ranked"])})


def save_vital_layers(layers: VitalLayers, path: Path) -> None:
    """Write a file; in `SHIPPED_FOLDER` it serves all models of its geometry."""
    path.write_text(json.dumps(asdict(layers), indent=2) + "\n", encoding="utf-8")


def read_samples(prompts_uri: str, num_groups: int) -> list[Sample]:
    """Return the first groups of a prompt set with one seed each, split offline."""
    rows = islice(read_prompt_set(PromptSetConfig(uri=prompts_uri)), num_groups)
    groups = [row for row in rows if isinstance(row, PromptGroup)]
    splits = build_splitter(SplitConfig(splitter="offline")).split(groups)
    return [
        Sample(group, seed, split)
        for seed, (group, split) in enumerate(zip(groups, splits, strict=True))
        if isinstance(split, GroupSplit)
    ]


def _geometry(transformer: FluxTransformer2DModel) -> tuple[int, int]:
    return len(transformer.transformer_blocks), len(transformer.single_transformer_blocks)
