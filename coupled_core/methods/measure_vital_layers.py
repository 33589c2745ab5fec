"""Program: measure which layers of a model are vital and write the file that Stable Flow reads.

    python -m coupled_core.methods.measure_vital_layers --base-model miniature

One generation of all prompts a layer, and one with the whole model.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from coupled_core.config import GenerationConfig
from coupled_core.generation.base_model import load_pipeline
from coupled_core.generation.provenance import resolve
from coupled_core.methods.stock_model import StockModel
from coupled_core.methods.vital_layers import (
    SHIPPED_FOLDER,
    measure_vital_layers,
    read_samples,
    save_vital_layers,
)


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
    model = StockModel(load_pipeline(resolved, offload="none"), resolved.provenance)
    layers = measure_vital_layers(model, read_samples(options.prompts, options.num_groups))
    path = options.output or SHIPPED_FOLDER / f"{Path(options.base_model).name}-vital-layers.json"
    save_vital_layers(layers, path)
    for block, value in layers.vitality.items():
        print(f"{value:.4f} {block}")
    print(f"{layers.num_vital} vital layers -> {path}")


if __name__ == "__main__":
    main()
