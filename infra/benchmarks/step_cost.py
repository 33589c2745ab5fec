"""Prints what coupling costs at the miniature's geometry: predicted, counted, and in time.

    python -m infra.benchmarks.step_cost [--repeats 5] [--threads 1]

Times are CPU seconds, which other processes on the machine disturb least: medians of the ratios of
stock and coupled runs in turn, on random weights.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from coupled_core.coupling.attention import Block, CoupledAttention, TextWeights
from coupled_core.coupling.cost_model import Geometry, predict_step_flops
from coupled_core.coupling.weighted_attention import TextLayout
from coupled_core.generation.batch import Group
from coupled_core.generation.families.family import (
    Conditioning,
    Frame,
    TextEmbedding,
    compute_noise_levels,
)
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.generation.sampler import SamplerSettings, sample_groups
from coupled_core.research.cost_ratios import predict_group_ratio, predict_region_ratio
from coupled_core.schedules.schedule import RegionSettings
from infra.benchmarks.arguments import build_parser

NUM_TEXT, NUM_IMAGE, NUM_GROUPS = 32, 256, 2
GEOMETRY = Geometry(
    width=128,
    num_double_blocks=2,
    num_single_blocks=4,
    num_image_tokens=NUM_IMAGE,
    num_text_tokens=NUM_TEXT,
)
SCHEDULES = ((0, 50, 0), (10, 30, 10), (15, 20, 15), (20, 20, 10), (25, 20, 5))


class NaiveAttention(CoupledAttention):
    """Two whole attentions and a blend: what the merged form is measured against."""

    def attend(self, block: Block, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if not block.is_single or self.weights is None:
            return super().attend(block, query, key, value)
        layout, beta = self.weights.layout, self.weights.beta
        streams = [layout.split(rows) for rows in (query, key, value)]
        outputs = []
        for branch in (0, 1):
            q, k, v = (torch.cat([stream[branch], stream[2]], dim=2) for stream in streams)
            outputs.append(scaled_dot_product_attention(q, k, v))
        texts = [out[:, :, :NUM_TEXT] for out in outputs]
        images = [out[:, :, NUM_TEXT:] for out in outputs]
        return torch.cat([*texts, (1 - beta) * images[0] + beta * images[1]], dim=2)


def build_transformer() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=16,
        num_layers=GEOMETRY.num_double_blocks,
        num_single_layers=GEOMETRY.num_single_blocks,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=128,
        pooled_projection_dim=128,
        axes_dims_rope=(8, 12, 12),
    ).eval()


def build_groups(num_images: int) -> list[Group]:
    def text() -> TextEmbedding:
        return TextEmbedding(torch.randn(NUM_TEXT, 128), torch.randn(128))

    return [
        Group(torch.randn(NUM_IMAGE, 16), text(), tuple(text() for _ in range(num_images)))
        for _ in range(NUM_GROUPS)
    ]


def sample(
    transformer: FluxTransformer2DModel,
    groups: Sequence[Group],
    betas: list[float],
    region: RegionSettings | None = None,
) -> None:
    """Run the real sampling loop; betas of 1 and no region make it the stock model."""
    side = torch.arange(16)
    sample_groups(
        open_family(transformer),
        groups,
        compute_noise_levels(Flux1, FlowMatchEulerDiscreteScheduler(), len(betas), NUM_IMAGE),
        torch.tensor(betas, dtype=torch.float64),
        Frame(torch.cartesian_prod(side[:1], side, side), (16, 16)),
        SamplerSettings("log_bias" if region is None else "region", None, region=region),
    )


def open_family(transformer: FluxTransformer2DModel) -> Flux1:
    names = ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    return Flux1(FluxPipeline(transformer=transformer, **dict.fromkeys(names)))


def step_naively(transformer: FluxTransformer2DModel, groups: Sequence[Group]) -> None:
    """Run one middle step with two whole attentions in single-stream blocks."""
    originals = transformer.attn_processors
    attention = NaiveAttention("log_bias")
    attention.weights = TextWeights(TextLayout(NUM_TEXT, NUM_TEXT), torch.tensor(0.5))
    blocks = [Block(name, name.startswith("single_")) for name in originals]
    num_rows = sum(len(group.entities) for group in groups)
    try:
        transformer.set_attn_processor(
            {
                block.name: Flux1.build_processor(block, partial(attention.attend, block))
                for block in blocks
            }
        )
        open_family(transformer).predict_velocity(
            torch.randn(num_rows, NUM_IMAGE, 16),
            torch.tensor(1000.0),
            Conditioning(torch.randn(num_rows, 2 * NUM_TEXT, 128), torch.randn(num_rows, 128)),
            Frame(torch.zeros(NUM_IMAGE, 3), (NUM_IMAGE, 1)),
            None,
        )
    finally:
        transformer.set_attn_processor(originals)


def count(run: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def time_ratio(run: Callable[[], None], baseline: Callable[[], None], repeats: int) -> float:
    return statistics.median(time_ratios(run, baseline, repeats))


def time_ratios(
    run: Callable[[], object], baseline: Callable[[], object], repeats: int
) -> list[float]:
    """Return the ratios of runs in turn: baseline, run, baseline, run."""
    ratios = []
    for _ in range(repeats):
        seconds = []
        for call in (baseline, run):
            started_at = time.process_time()
            call()
            seconds.append(time.process_time() - started_at)
        ratios.append(seconds[1] / seconds[0])
    return ratios


def report_steps(transformer: FluxTransformer2DModel, repeats: int) -> None:
    groups = build_groups(2)

    def stock() -> None:
        sample(transformer, groups, [1.0])

    def naive() -> None:
        step_naively(transformer, groups)

    print("one step of a pair / one stock step of both images   predicted  counted  time")
    stock_flops, stock_count = predict_step_flops(GEOMETRY, "stock"), count(stock)
    rows: list[tuple[str, list[float], float]] = [
        ("prefix (beta = 0)", [0.0], 0.5),
        ("middle (0 < beta < 1)", [0.5], predict_step_flops(GEOMETRY, "merged") / stock_flops),
        ("suffix (beta = 1)", [1.0], 1.0),
    ]
    for name, betas, predicted in rows:

        def run(betas: list[float] = betas) -> None:
            sample(transformer, groups, betas)

        print(
            f"{name:<53}{predicted:>8.3f}{count(run) / stock_count:>9.3f}"
            f"{time_ratio(run, stock, 4 * repeats):>6.2f}"
        )
    predicted = predict_step_flops(GEOMETRY, "two_attentions") / stock_flops
    print(
        f"{'middle with two whole attentions':<53}{predicted:>8.3f}"
        f"{count(naive) / stock_count:>9.3f}{time_ratio(naive, stock, 4 * repeats):>6.2f}"
    )


def report_groups(transformer: FluxTransformer2DModel, repeats: int) -> None:
    print("\ngroup / its images singly   N   predicted  counted  time")
    for steps in SCHEDULES:
        num_prefix, num_middle, num_suffix = steps
        betas = [0.0] * num_prefix + [0.5] * num_middle + [1.0] * num_suffix
        for num_images in (2, 4):
            groups = build_groups(num_images)

            def coupled(groups: list[Group] = groups, betas: list[float] = betas) -> None:
                sample(transformer, groups, betas)

            def stock(groups: list[Group] = groups) -> None:
                sample(transformer, groups, [1.0] * 50)

            predicted = predict_group_ratio(GEOMETRY, *steps, num_images)
            print(
                f"{'/'.join(map(str, steps)):<26}{num_images:>3}{predicted:>12.3f}"
                f"{count(coupled) / count(stock):>9.3f}{time_ratio(coupled, stock, repeats):>6.2f}"
            )


def report_regions(transformer: FluxTransformer2DModel, repeats: int) -> None:
    print("\nmode region: group / its images singly   N  inside  predicted  counted  time")
    size = 0.15
    for num_images in (2, 4):
        groups = build_groups(num_images)[:1]
        settings = RegionSettings(size=size, margin=0.0, feather=0.0, read_until=0.7)
        inside: list[int] = []

        def coupled(groups: list[Group] = groups, settings: RegionSettings = settings) -> None:
            sample(transformer, groups, [1.0] * 20, settings)

        def stock(groups: list[Group] = groups) -> None:
            sample(transformer, groups, [1.0] * 20)

        def watch(
            _: object, __: object, kwargs: dict[str, Tensor], inside: list[int] = inside
        ) -> None:
            inside.append(kwargs["hidden_states"].shape[1])

        hook = transformer.register_forward_pre_hook(watch, with_kwargs=True)
        coupled()
        hook.remove()
        tied = [tokens for tokens in inside if tokens < NUM_IMAGE]
        num_reading = 20 - len(tied)
        predicted = predict_region_ratio(
            GEOMETRY, num_reading, len(tied), num_images=num_images, num_inside=tied[0]
        )
        print(
            f"{f'{num_reading} reading, {len(tied)} tied':<39}{num_images:>3}"
            f"{tied[0]:>8}{predicted:>11.3f}{count(coupled) / count(stock):>9.3f}"
            f"{time_ratio(coupled, stock, repeats):>6.2f}"
        )


@torch.no_grad()
def main() -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each variant")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformer = build_transformer()
    sample(transformer, build_groups(2), [0.0, 0.5, 1.0])  # warm up
    report_steps(transformer, options.repeats)
    report_groups(transformer, options.repeats)
    report_regions(transformer, options.repeats)


if __name__ == "__main__":
    main()
