"""How often torch.compile compiles over batches of mixed sizes and modes.

    python -m infra.benchmarks.compilations [--json]

A small random FLUX.1 goes through the sampler in all modes, with several image sizes, groups and
images a group, twice. The backend runs graphs as they are, since only their number matters here.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch._dynamo.utils import counters

from coupled_core.generation.batch import Group
from coupled_core.generation.families.family import (
    Family,
    Frame,
    TextEmbedding,
    compute_noise_levels,
)
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.generation.pipeline import compile_blocks
from coupled_core.generation.sampler import SamplerSettings, sample_groups
from coupled_core.records import CouplingMode
from coupled_core.schedules.schedule import RegionSettings
from infra.benchmarks.arguments import build_parser
from infra.benchmarks.step_cost import build_transformer, open_family

_BETAS = (0.0, 0.2, 0.8, 1.0, 1.0)
_REGION = RegionSettings(size=0.15, margin=0.02, feather=0.02, read_until=0.7)
_MODES: tuple[CouplingMode, ...] = ("log_bias", "key_scale", "region")
_WARM_UP = (((2, 2), 16), ((2,), 16))
"""Images of each group of a batch, and tokens along a side: a full batch, and a shard's last."""
_LATER = (((3, 2), 12), ((2, 2, 4), 20), ((4,), 8), ((2, 3), 16))


@dataclass(frozen=True)
class Compilations:
    """What was compiled."""

    warm_up: int
    """Graphs of the first full and the first short batch of each mode."""
    after_warm_up: int
    graph_breaks: int
    largest_difference: float
    """Between latents of compiled and of plain blocks."""


@torch.no_grad()
def count(modes: Sequence[CouplingMode] = _MODES, backend: str = "eager") -> Compilations:
    """Sample with plain and with compiled blocks, and count graphs."""
    torch._dynamo.reset()
    counters.clear()
    transformer = build_transformer()
    family = open_family(transformer)
    runs = [[(mode, *each) for mode in modes for each in lot] for lot in (_WARM_UP, _LATER)]
    plain = [sample(family, *each) for lot in runs for each in lot]
    compile_blocks(transformer, backend=backend)
    compiled, numbers = [], []
    for lot in runs:
        compiled += [sample(family, *each) for each in lot]
        numbers.append(counters["stats"]["unique_graphs"])
    return Compilations(
        numbers[0],
        numbers[1] - numbers[0],
        sum(counters["graph_break"].values()),
        max(float((a - b).abs().max()) for a, b in zip(plain, compiled, strict=True)),
    )


def sample(family: Family, mode: CouplingMode, sizes: tuple[int, ...], side: int) -> torch.Tensor:
    """Denoise a batch of random groups, equal ones each time; return the latents of all images."""
    torch.manual_seed(0)

    def text() -> TextEmbedding:
        return TextEmbedding(torch.randn(32, 128), torch.randn(128))

    groups = [
        Group(torch.randn(side * side, 16), text(), tuple(text() for _ in range(size)))
        for size in sizes
    ]
    betas = torch.tensor(_BETAS if mode != "region" else (1.0,) * len(_BETAS), dtype=torch.float64)
    row = torch.arange(side)
    denoised = sample_groups(
        family,
        groups,
        compute_noise_levels(Flux1, FlowMatchEulerDiscreteScheduler(), len(betas), side * side),
        betas,
        Frame(torch.cartesian_prod(row[:1], row, row), (side, side)),
        SamplerSettings(mode, None, region=_REGION if mode == "region" else None),
    )
    return torch.cat([group.images for group in denoised])


def main() -> None:
    """Count and print."""
    parser = build_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = asdict(count())
    if options.json:
        print(json.dumps({"compilations": found}))
        return
    for name, number in found.items():
        print(f"{name:<15} {number}")


if __name__ == "__main__":
    main()
