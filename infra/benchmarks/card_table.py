"""Prints which models fit which cards, with which options, and how fast: all of it computed.

    python -m infra.benchmarks.card_table

Nothing is loaded. For each card the fastest option that fits is taken, with Segment Anything ViT-H
and CLIP ViT-L-14 beside the base model, from ViT-B on cards of up to 12 GB. Weights that come and
go cost their bytes over the bus: with `model` once a batch, with `group` at each step.
"""

from dataclasses import dataclass, replace

from coupled_core.config import GenerationConfig, Offload
from coupled_core.coupling.cost_model import predict_step_flops
from coupled_core.generation.families.spec import FLUX_1, FLUX_2_KLEIN, QWEN_IMAGE
from coupled_core.generation.footprint import Footprint, geometry_of
from coupled_core.generation.memory_plan import CONTEXT_BYTES, WAYS, MemoryPlan, plan_memory
from coupled_core.generation.model_files import (
    KNOWN_MODELS,
    ModelFiles,
    TransformerShape,
    find_model_files,
)
from coupled_core.generation.provenance import resolve_generation
from coupled_core.runs.needs import CARDS, REACHED, REST_SECONDS, SLOWDOWN

GIB = 2**30
BY_GB = {  # a card, TFLOP/s of dense bfloat16 matrices as its maker states them
    8: ("RTX 4060", 30),
    12: ("RTX 4070", 58),
    16: ("RTX 4080", 97),
    24: ("RTX 4090", CARDS["RTX 4090"]),
    48: ("L40S", CARDS["L40S"]),
    80: ("H100", CARDS["H100"]),
}
MODELS = {
    "FLUX.2-klein-4B": (FLUX_2_KLEIN, TransformerShape(num_layers=5, num_single_layers=20)),
    "FLUX.2-klein-9B": (
        FLUX_2_KLEIN,
        TransformerShape(num_layers=8, num_single_layers=24, num_attention_heads=32),
    ),
    "FLUX.1-schnell": (FLUX_1, TransformerShape()),
    "FLUX.1-dev": (FLUX_1, TransformerShape()),
    "Qwen-Image": (QWEN_IMAGE, TransformerShape(num_layers=60, num_single_layers=0)),
}
SCORERS = {  # weights in float32, CLIP with it, and what ViT takes at work
    "vit_b": 375_042_383 + 1_710_466_052 + 2_518_679_552,
    "vit_h": 2_564_550_879 + 1_710_466_052 + 3_374_841_856,
}
BUS_BYTES_A_SECOND = 20e9
HOST_BYTES = 64 * GIB
MOST_GROUPS = 8


@dataclass(frozen=True)
class Row:
    options: str
    peak: int
    pairs_an_hour: tuple[float, float]


def describe(name: str) -> ModelFiles:
    known = next(each for each in KNOWN_MODELS.values() if each.id.endswith(f"/{name}"))
    family, shape = MODELS[name]
    return replace(
        find_model_files("miniature", None), name=known.id, folder=None, known=known,
        family=family, transformer=shape, size_multiple_px=16,
        decoder_channels=192 if family is QWEN_IMAGE else 256,
    )  # fmt: skip


def plan(files: ModelFiles, quantize: str, scorers: str) -> MemoryPlan:
    made = replace(
        resolve_generation(GenerationConfig(device="cpu")),
        width=1024, height=1024, dtype="bfloat16", coupling_mode="log_bias",
        max_sequence_length=files.known.max_sequence_length or 512,
        weights="" if quantize == "none" else quantize,
    )  # fmt: skip
    footprint = Footprint(files.known.num_parameters, 0)
    found = plan_memory(files, footprint, made, beside=CONTEXT_BYTES + SCORERS[scorers])
    assert found is not None
    return found


def estimate_pair(
    files: ModelFiles, use: MemoryPlan, way: Offload, groups: int, tflops: int
) -> tuple[float, float]:
    """Return the seconds of a pair, from and to."""
    known = files.known
    geometry = geometry_of(files, 1024, 1024, known.max_sequence_length or 512)
    step = 2 * predict_step_flops(geometry, "merged") / (REACHED * tflops * 1e12)
    # With classifier-free guidance each step predicts twice.
    is_doubled = files.family.is_classifier_free and known.guidance_scale > 1
    steps = known.num_inference_steps * (2 if is_doubled else 1)
    moved = sum(use.weights.values()) / groups
    if way == "group":
        moved += use.weights["transformer"] * (steps - 1) / groups
    transfer = 0.0 if way == "none" else moved / BUS_BYTES_A_SECOND
    # That share is an H100's; other cards take longer by their rate.
    rest = 2 * REST_SECONDS * CARDS["H100"] / tflops + transfer
    return steps * step + rest, steps * step * SLOWDOWN + rest


def choose(name: str, card: int) -> Row | None:
    files, memory = describe(name), int(card * 1e9)
    _, tflops = BY_GB[card]
    scorers = "vit_b" if card <= 12 else "vit_h"
    found = []
    for quantize in ("none", "int8"):
        use = plan(files, quantize, scorers)
        for way in (each for each in WAYS if each in ("none", "model", "group")):
            if use.fits(way, memory, HOST_BYTES):
                groups = min(MOST_GROUPS, use.most_groups(way, memory))
                fast, slow = estimate_pair(files, use, way, groups, tflops)
                options = " ".join(
                    text
                    for text in (
                        "" if quantize == "none" else f"--quantize {quantize}",
                        "" if way == "none" else f"--offload {way}",
                    )
                    if text
                )
                images = use.most_decoded(way, memory)
                peak = use.peak(way, groups, min(4, images))
                found.append(Row(options, peak, (3600 / slow, 3600 / fast)))
    # Of what is about as fast, what leaves the weights as they are.
    best = max((row.pairs_an_hour[1] for row in found), default=0.0)
    return next((row for row in found if row.pairs_an_hour[1] > 0.9 * best), None)


def main() -> None:
    print("| card | model | options | GiB | pairs an hour | |")
    print("|---|---|---|---|---|---|")
    for card, (label, _) in BY_GB.items():
        for name in MODELS:
            row = choose(name, card)
            if row is None:
                print(f"| {card} GB ({label}) | {name} | does not fit | | | computed |")
                continue
            options = f"`{row.options}`" if row.options else "none"
            least, most = row.pairs_an_hour
            print(
                f"| {card} GB ({label}) | {name} | {options} | {row.peak / GIB:.1f} | "
                f"{least:,.0f} to {most:,.0f} | computed |"
            )


if __name__ == "__main__":
    main()
