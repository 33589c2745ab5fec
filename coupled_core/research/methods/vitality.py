"""Which layers of a model are vital: how much its images change without each of them.

Shipped where measured or published; `python -m coupled_core.research.methods.vitality`
measures a model and writes the file that Stable Flow reads.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel

from coupled_core.config import GenerationConfig, PromptSetConfig, SplitConfig
from coupled_core.documents import parse_json, read_file
from coupled_core.generation.pipeline import load_pipeline
from coupled_core.generation.provenance import resolve
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import GroupSplit, PromptGroup, Sample
from coupled_core.research.methods.attention_control import list_blocks
from coupled_core.research.methods.controls import denoise_singly
from coupled_core.research.methods.stock import StockModel, StockRun
from coupled_core.scoring.metrics import background_ssim
from coupled_core.splitting.splitter import build_splitter


def measure_vitality(
    model: StockModel,
    samples: Sequence[Sample],
    on_block: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return 1 - mean structural similarity to the whole model's images, by block, in [0, 2].

    Args:
        model: the model; as it was afterwards.
        samples: all of the run's size; every one of their images counts once.
        on_block: called with (blocks done, blocks in all).
    """
    whole = _generate(model, samples)
    blocks = list_blocks(model.transformer)
    vitality = {}
    for i, block in enumerate(blocks):
        with bypassed(model.transformer, block):
            without = _generate(model, samples)
        pairs = zip(whole, without, strict=True)
        vitality[block] = 1.0 - float(np.mean([_compare(a, b) for a, b in pairs]))
        if on_block is not None:
            on_block(i + 1, len(blocks))
    return vitality


@contextmanager
def bypassed(transformer: FluxTransformer2DModel, block: str) -> Iterator[None]:
    """Hand a block's input on as its output for the length of a `with` block."""

    def hand_on(_: torch.nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        return kwargs["encoder_hidden_states"], kwargs["hidden_states"]

    hook = transformer.get_submodule(block).register_forward_hook(hand_on, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def _generate(model: StockModel, samples: Sequence[Sample]) -> list[np.ndarray | None]:
    width, height = model.provenance.width, model.provenance.height
    run = StockRun(model, samples, width, height)
    return model.decode(denoise_singly(run, {}), width, height)


def _compare(whole: np.ndarray | None, without: np.ndarray | None) -> float:
    """Return the structural similarity; a model that breaks down without a layer has none."""
    if whole is None or without is None:
        return 0.0
    return background_ssim([whole, without], np.zeros(whole.shape[:2], dtype=bool))


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
    """Vitality by block, see `measure_vitality`; empty where published without numbers."""
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
    content = parse_json(read_file(path))
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base-model", default="miniature", help="hub id, folder or miniature")
    parser.add_argument("--prompts", default="miniature", help="prompt set")
    parser.add_argument("--num-groups", type=int, default=32, help="groups of it, from the first")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="default: where the package looks for it")
    options = parser.parse_args(arguments)
    resolved = resolve(GenerationConfig(base_model=options.base_model, device=options.device))
    model = StockModel(
        load_pipeline(resolved, offload="none"), resolved.provenance, resolved.schedule
    )
    layers = measure_vital_layers(model, read_samples(options.prompts, options.num_groups))
    path = options.output or SHIPPED_FOLDER / f"{Path(options.base_model).name}-vital-layers.json"
    save_vital_layers(layers, path)
    for block, value in layers.vitality.items():
        print(f"{value:.4f} {block}")
    print(f"{layers.num_vital} vital layers -> {path}")


if __name__ == "__main__":
    main()
