"""`coupled plan`: what a build would do and cost; nothing is written and nothing spent."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from coupled_core.config import ExecutionConfig, RunConfig
from flows.cli.build import Shards
from flows.cli.command import command, option
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow or torch waits until the command runs
    from coupled_core.runs.forecast import Forecast, SplitForecast
    from coupled_core.runs.needs import MemoryUse

_WIDTH = 16


@command(
    examples="""
    coupled plan
    coupled plan --profile flux-schnell --prompts prompts.csv --gpu-usd-per-hour 2
    coupled plan --prompts s3://bucket/set.parquet --output s3://bucket/pairs --json
    """,
)
def plan(
    terminal: Terminal,
    config: RunConfig,
    execution: Annotated[ExecutionConfig, Offer(section="execution")],
    shards: Shards = None,
    count_tokens: Annotated[
        int | None,
        option(
            "Let the API count the tokens of so many groups, which is free, and scale the "
            "estimate to them. Default: 64 where its key is set; 0: none.",
            min=0,
            max=1000,
        ),
    ] = None,
    gpu_usd_per_hour: Annotated[
        float | None,
        option("What an hour of the device costs: the time is told in USD, too.", min=0),
    ] = None,
) -> None:
    """Say what `coupled build` would do with the same options, and what it would cost.

    Groups, pairs, shards, how much of it the dataset and the answer cache hold already, tokens and
    price of splitting online and batched, time, memory, download and disk. Times are those of
    pairs of the dataset made in the same way, else computed for cards that are known. Nothing is
    written and nothing is spent.
    """
    from coupled_core.runs.forecast import forecast_build

    del execution, shards  # a build's options are all taken; who builds what changes nothing

    with terminal.progress():
        forecast = forecast_build(config, count_tokens)
    document = {**to_json(config, forecast), "usd_gpu": _price_time(forecast, gpu_usd_per_hour)}
    terminal.answer(render(config, forecast, gpu_usd_per_hour), document)


def render(config: RunConfig, forecast: "Forecast", gpu_usd_per_hour: float | None = None) -> str:
    """Return a forecast as text."""
    from coupled_core.prompts.columns import describe_unknown
    from coupled_core.prompts.prompt_set import unknown_columns_of
    from coupled_core.runs.text_report import describe_readers, describe_refused
    from coupled_core.scoring.content_filter import content_filter_version
    from coupled_core.splitting.splitter import describe_splitter, settle_split

    run, splits = forecast.run, forecast.splits
    done = f", {forecast.groups_done:,} of them in the dataset" if forecast.groups_done else ""
    bad = f", {run.num_quarantined:,} unusable rows" if run.num_quarantined else ""
    finished = f", {len(run.finished_shards):,} of them built" if run.finished_shards else ""
    lines = [
        ("run", run.run_id),
        ("groups", f"{run.num_groups:,}{done}{bad}"),
        ("pairs", f"{run.num_pairs:,}: {run.num_pairs_done:,} in {config.output.uri} already, "
                  f"{forecast.pairs_to_make:,} left"),
        *_describe_attempts(forecast),
        ("shards", f"{len(run.shards):,} of up to {config.output.shard_size} groups{finished}"),
        ("split by", describe_splitter(config.split, settle_split(config).split)),
        *_describe_splits(config, splits),
        ("images", f"{run.generation.base_model}, {run.generation.num_inference_steps} steps, "
                   f"{run.generation.width} x {run.generation.height} pixels"),
        *_describe_needs(config, forecast, gpu_usd_per_hour),
        ("scores", f"Segment Anything {config.scoring.sam_model}, "
                   f"CLIP {config.scoring.clip_model}"),
        ("kept", f"from J {config.filter.min_combined:g} on; content filter "
                 f"{content_filter_version(config.content_filter) or 'off'}"),
    ]  # fmt: skip
    names = iter(["texts"])
    lines += [(next(names, ""), text) for text in describe_readers(run.texts)]
    if refused := describe_refused(run.texts):
        lines.append(("refused", refused))
    if unknown := unknown_columns_of(run.inputs):
        lines.append(("warning", describe_unknown(unknown)))
    if not run.shards:
        lines.append(("", "nothing to do: the dataset holds every pair"))
    return "\n".join(f"{name:<{_WIDTH}}{text}" for name, text in lines)


def to_json(config: RunConfig, forecast: "Forecast") -> dict[str, Any]:
    """Return a forecast as plain values."""
    from coupled_core.prompts.prompt_set import unknown_columns_of
    from coupled_core.scoring.content_filter import content_filter_version

    run, splits = forecast.run, forecast.splits
    return {
        "run_id": run.run_id,
        "dataset": config.output.uri,
        "inputs": [asdict(file) for file in run.inputs],
        "unknown_columns": [asdict(column) for column in unknown_columns_of(run.inputs)],
        "groups": run.num_groups,
        "groups_done": forecast.groups_done,
        "rows_quarantined": run.num_quarantined,
        "pairs": run.num_pairs,
        "pairs_done": run.num_pairs_done,
        "pairs_to_make": forecast.pairs_to_make,
        "shards": len(run.shards),
        "shards_built": len(run.finished_shards),
        "splits": {
            **asdict(splits),
            "cached_share": splits.cached_share,
            "max_llm_usd": config.split.max_llm_usd,
        },
        "generation": asdict(run.generation),
        "sam_model": config.scoring.sam_model,
        "clip_model": config.scoring.clip_model,
        "min_combined": config.filter.min_combined,
        "content_filter": content_filter_version(config.content_filter),
        "texts": asdict(run.texts),
        "seconds_a_pair": forecast.seconds_a_pair,
        "gpu_seconds": forecast.gpu_seconds,
        "attempts": forecast.attempts,
        "pairs_to_make_at_most": forecast.pairs_to_make * forecast.attempts,
        "gpu_seconds_at_most": forecast.gpu_seconds_at_most,
        "images_to_make": forecast.images_to_make,
        "time": asdict(forecast.time) if forecast.time else None,
        "needs": asdict(forecast.needs),
        "disk_bytes": _disk_bytes(forecast),
    }


def _describe_attempts(forecast: "Forecast") -> Iterator[tuple[str, str]]:
    if forecast.attempts > 1:
        at_most = forecast.pairs_to_make * forecast.attempts
        yield "attempts", f"up to {forecast.attempts} for each requested seed: {at_most:,} pairs"


def _describe_splits(config: RunConfig, splits: "SplitForecast") -> Iterator[tuple[str, str]]:
    given = f", {splits.groups_given:,} given with the prompts" if splits.groups_given else ""
    if not splits.is_paid:
        # What a splitter of another package costs is not known here.
        price = ", free of charge" if splits.splitter.startswith("offline/") else ""
        yield "splits", f"{splits.groups_to_ask:,} to do{price}{given}"
        if splits.groups_failed_offline:
            share = splits.groups_failed_offline / splits.groups_tried_offline
            tried = f"{share:.0%} of the first {splits.groups_tried_offline:,}"
            yield "", f"{tried} cannot be split by rules and would fail"
        return
    cached = f"{splits.groups_cached:,} in the cache ({splits.cached_share:.1%})"
    yield "splits", f"{splits.groups_to_ask:,} to ask for, {cached}{given}"
    yield "tokens", _describe_tokens(splits)
    if splits.count_problem:
        yield "", f"not counted: {splits.count_problem}"
    yield "price", f"{_write_usd(splits.usd_batch)} batched, {_write_usd(splits.usd_online)} online"
    if config.split.max_llm_usd is not None:
        yield "cap", _describe_cap(config.split.max_llm_usd, config, splits)
    elif not config.split.no_cap:
        yield "cap", "none: a build needs --max-llm-usd, or --no-cap"


def _describe_tokens(splits: "SplitForecast") -> str:
    num_counted = splits.tokens_counted_on_groups
    if not num_counted:
        return f"{splits.input_tokens:,} in, {splits.output_tokens:,} out (estimated)"
    margin = f"±{splits.input_tokens_margin:.2%} at 95%" if splits.input_tokens_margin else "exact"
    counted = f"by the API's count of {num_counted:,} groups, {margin}"
    return f"{splits.input_tokens:,} in ({counted}), {splits.output_tokens:,} out (estimated)"


def _describe_cap(cap: float, config: RunConfig, splits: "SplitForecast") -> str:
    """Compare a cap with the estimate; it holds for worst cases, so it can stop a little early."""
    is_online = config.split.transport == "online"
    estimate = splits.usd_online if is_online else splits.usd_batch
    is_enough = cap >= estimate
    verdict = "above the estimate" if is_enough else "below the estimate: the build will stop at it"
    return f"{_write_usd(cap)}: {verdict}"


def _describe_needs(
    config: RunConfig, forecast: "Forecast", gpu_usd_per_hour: float | None
) -> Iterator[tuple[str, str]]:
    """Say what a build takes of time, money for the device, memory, network and disk."""
    from coupled_core.generation.licences import describe_training
    from coupled_core.report.numbers import format_bytes

    needs, generation = forecast.needs, forecast.run.generation
    yield "", f"{needs.family}, licence {generation.license}. {describe_training(needs.training)}"
    origin = "was fitted" if needs.is_schedule_fitted else "was picked by hand, not fitted"
    yield "", f"mode {generation.coupling_mode}, whose schedule {origin}"
    yield "", f"{needs.image_flops / 1e12:,.3g} TFLOP an image, without what coupling adds"
    yield "generation", _describe_time(forecast)
    usd = _price_time(forecast, gpu_usd_per_hour)
    if usd is not None:
        yield (
            "device price",
            f"{_write_range(*map(_write_usd, usd))} at ${gpu_usd_per_hour:g} an hour",
        )
    if needs.memory is not None:
        yield from _describe_memory(needs.memory)
    weights = f"{format_bytes(needs.download_bytes)} of weights" if needs.download_bytes else ""
    if needs.lacks_weights:
        lacking = weights or "its weights"
        name = generation.base_model
        yield "download", f"{name} holds configurations alone: a build needs {lacking} there"
    elif weights:
        yield "download", f"{weights}, once"
    least, most = map(format_bytes, _disk_bytes(forecast))
    yield "disk", f"{_write_range(least, most)} if all pairs are kept; twice that while it builds"


def _describe_memory(use: "MemoryUse") -> Iterator[tuple[str, str]]:
    """Say what a batch takes of the device, by component, and whether it fits there."""
    from coupled_core.report.numbers import format_bytes

    plan = use.plan
    groups = use.num_groups if plan.groups_share_steps else 1
    if use.refusal:
        yield "memory", f"does not fit: {use.refusal}"
    else:
        peak = format_bytes(use.peak)
        room = f"{format_bytes(use.available_bytes)} of the device with --offload {use.offload}"
        yield "memory", f"{peak} of {room}, groups at a time: {groups} (computed)"
    parts = ", ".join(f"{part} {format_bytes(size)}" for part, size in plan.weights.items())
    kept = f", kept keys and values {format_bytes(plan.kept)}" if plan.kept else ""
    decode = f"decoding an image {format_bytes(plan.decode)}, {use.num_decoded:,} at once"
    yield "", f"weights: {parts}"
    yield "", f"a group's step {format_bytes(plan.step)}{kept}; {decode}"
    host = format_bytes(plan.host_bytes(use.offload))
    yield "", f"scorers {format_bytes(use.scorer_bytes)}; main memory for weights {host}"


def _describe_time(forecast: "Forecast") -> str:
    from coupled_core.report.numbers import format_duration

    if forecast.time is None:
        return "time unknown: the dataset has no such pairs, and this device is not in the table"
    device = forecast.run.generation.device_name
    least, most = forecast.time.seconds
    worst = ""
    if forecast.attempts > 1:
        worst = f", {format_duration(most * forecast.attempts)} if every attempt is made"
    shown = _write_range(format_duration(least), format_duration(most))
    return f"about {shown}{worst} on one {device} ({forecast.time.source})"


def _price_time(forecast: "Forecast", usd_per_hour: float | None) -> tuple[float, float] | None:
    if usd_per_hour is None or forecast.time is None:
        return None
    least, most = (seconds / 3600 * usd_per_hour for seconds in forecast.time.seconds)
    return least, most * forecast.attempts


def _disk_bytes(forecast: "Forecast") -> tuple[int, int]:
    least, most = forecast.needs.pair_bytes
    return least * forecast.pairs_to_make, most * forecast.pairs_to_make


def _write_range(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _write_usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"
