from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError, ModelUnavailableError, ScheduleError
from coupled_core.generation.generator import GroupGenerator, load_generator
from coupled_core.generation.pipeline import check_pipeline
from coupled_core.generation.provenance import SAMPLER_VERSIONS, resolve_generation
from coupled_core.records import GeneratedSample, Rejection, RejectReason, Sample
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import save_schedule
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample


def build_config(folder: Path, **changes: object) -> GenerationConfig:
    values = {"base_model": str(folder), "device": "cpu", "num_inference_steps": 6, **changes}
    return GenerationConfig.model_validate(values)


@pytest.fixture(scope="module")
def generator(model_folder: Path) -> GroupGenerator:
    return load_generator(build_config(model_folder))


def images_of(outcome: GeneratedSample | Rejection) -> np.ndarray:
    assert isinstance(outcome, GeneratedSample), outcome
    return np.stack(outcome.images)


def test_a_sample_becomes_one_image_a_prompt_with_its_share_of_the_time(
    generator: GroupGenerator,
) -> None:
    pair, triple = generator.generate([build_sample(0, 2), build_sample(1, 3)])
    assert images_of(pair).shape == (2, SIZE_PX, SIZE_PX, 3)
    assert images_of(triple).shape == (3, SIZE_PX, SIZE_PX, 3)
    assert images_of(pair).dtype == np.uint8
    assert isinstance(pair, GeneratedSample)
    assert isinstance(triple, GeneratedSample)
    assert triple.generate_seconds == pytest.approx(1.5 * pair.generate_seconds)
    assert pair.device_name.startswith("cpu")


def test_pixels_do_not_depend_on_the_batch_beyond_one_level(generator: GroupGenerator) -> None:
    samples = [build_sample(i, 2 + i % 3) for i in range(8)]
    together = generator.generate(samples)
    for sample, in_batch in zip(samples, together, strict=True):
        (alone,) = generator.generate([sample])
        difference = np.abs(images_of(alone).astype(int) - images_of(in_batch).astype(int))
        assert difference.max() <= 1


def test_the_same_call_gives_the_same_bytes_and_another_seed_another_image(
    generator: GroupGenerator,
) -> None:
    first, again = (images_of(generator.generate([build_sample(0)])[0]) for _ in range(2))
    other = images_of(generator.generate([build_sample(0, seed=99)])[0])
    assert (first == again).all()
    assert np.abs(first.astype(int) - other.astype(int)).mean() > 1


def test_groups_of_other_sizes_share_a_call_and_keep_their_order(generator: GroupGenerator) -> None:
    sizes = [32, 16, 32]
    outcomes = generator.generate([build_sample(i, size_px=s) for i, s in enumerate(sizes)])
    assert [images_of(outcome).shape[1] for outcome in outcomes] == sizes


def test_a_size_that_does_not_fit_rejects_that_group_alone(generator: GroupGenerator) -> None:
    rejected, good = generator.generate([build_sample(0, size_px=30), build_sample(1)])
    assert isinstance(good, GeneratedSample)
    assert isinstance(rejected, Rejection)
    assert rejected.reason is RejectReason.GENERATION_FAILED
    assert "group group-0, seed 0: width must be a multiple of 4 px" in rejected.message


def test_images_that_are_not_finite_reject_their_sample_alone(
    generator: GroupGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = generator._pipeline.vae
    decode = vae.decode

    def overflow(latents: torch.Tensor, **options: object) -> tuple[torch.Tensor]:
        (images,) = decode(latents, **options)
        images[1] = torch.inf
        return (images,)

    monkeypatch.setattr(vae, "decode", overflow)
    rejected, good = generator.generate([build_sample(0), build_sample(1)])
    assert isinstance(good, GeneratedSample)
    assert isinstance(rejected, Rejection)
    assert "group group-0, seed 0: images [1] of 2" in rejected.message


def test_each_distinct_prompt_is_encoded_once(model_folder: Path) -> None:
    generator = load_generator(build_config(model_folder))
    generator.generate([build_sample(0, 2), build_sample(0, 3)])
    generator.generate([build_sample(0, 2)])
    assert generator._encoder.num_encoded == 4


def test_the_provenance_names_the_version_of_the_modes_rule(generator: GroupGenerator) -> None:
    assert generator.provenance.coupling_mode == "region"
    assert generator.provenance.sampler_version == SAMPLER_VERSIONS["region"] > 1
    over_time = Schedule("step", {"center": 0.1}, "log_bias", "tiny", None, False, "")
    assert generator.with_schedule(over_time).provenance.sampler_version == 1


def test_the_entity_stream_reads_what_the_settings_say(model_folder: Path) -> None:
    full, entity = (
        load_generator(build_config(model_folder, entity_text=text)).generate([build_sample(0)])
        for text in ("full_prompt", "entity_prompt")
    )
    assert np.abs(images_of(full[0]).astype(int) - images_of(entity[0]).astype(int)).max() > 3


def test_progress_counts_every_step(generator: GroupGenerator) -> None:
    seen: list[tuple[int, int]] = []
    generator.generate([build_sample(0)], on_step=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_images_equal_the_stock_pipelines_when_beta_is_1_from_the_start(
    model_folder: Path, tmp_path: Path, pipeline: FluxPipeline
) -> None:
    schedule = Schedule("step", {"center": -1.0}, "log_bias", "tiny", None, False, "always 1")
    save_schedule(schedule, tmp_path / "always.json")
    generator = load_generator(build_config(model_folder, schedule=str(tmp_path / "always.json")))
    sample = build_sample(3)
    ours = images_of(generator.generate([sample])[0])
    for image, prompt in zip(ours, sample.group.prompts, strict=True):
        (stock,) = pipeline(
            prompt,
            height=SIZE_PX,
            width=SIZE_PX,
            num_inference_steps=6,
            max_sequence_length=32,
            generator=torch.Generator("cpu").manual_seed(sample.seed),
            output_type="np",
        ).images
        assert np.abs(image.astype(int) - (stock * 255).round().astype(int)).max() <= 1


def test_bfloat16_runs(model_folder: Path) -> None:
    generator = load_generator(build_config(model_folder, dtype="bfloat16"))
    assert images_of(generator.generate([build_sample(0)])[0]).std() > 1


def test_provenance_is_the_same_before_and_after_loading(
    model_folder: Path, generator: GroupGenerator
) -> None:
    resolved = resolve_generation(build_config(model_folder))
    assert resolved == generator.provenance
    assert (resolved.width, resolved.height, resolved.max_sequence_length) == (32, 32, 32)
    assert resolved.dtype == "float32"
    assert resolved.coupling_mode == "region"
    assert len(resolved.schedule_id) == len(resolved.base_model_revision) == 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 33}, "width must be a multiple of 4 px for this model; got 33"),
        ({"max_sequence_length": 513}, "at most 512 tokens of T5.* got 513"),
        ({"device": "quantum"}, "device 'quantum' is not usable here"),
        (
            {"offload": "model"},
            "offload=model .* the device is cpu: use offload=none, disk or auto",
        ),
        (
            {"offload": "model", "device": "cpu:0"},
            "the device is cpu: use offload=none, disk or auto",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_loading(
    model_folder: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_generation(build_config(model_folder, **changes))


def test_a_schedule_of_the_other_mode_is_refused(model_folder: Path, tmp_path: Path) -> None:
    schedule = Schedule("step", {"center": 0.2}, "key_scale", "tiny", None, False, "")
    save_schedule(schedule, tmp_path / "scaled.json")
    path = str(tmp_path / "scaled.json")
    assert (
        resolve_generation(build_config(model_folder, schedule=path)).coupling_mode == "key_scale"
    )
    with pytest.raises(
        ScheduleError, match="made for mode key_scale, but coupling_mode is log_bias"
    ):
        resolve_generation(build_config(model_folder, schedule=path, coupling_mode="log_bias"))


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_a_tokenizer_to_which_all_prompts_are_one_is_refused(
    pipeline: FluxPipeline, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, name, type(getattr(pipeline, name))())
    with pytest.raises(ModelUnavailableError, match=f"its {name} does not fit"):
        check_pipeline(pipeline)


def _ask_for(*prompts: str) -> Sample:
    sample = build_sample()
    group = replace(sample.group, prompts=prompts)
    return replace(sample, group=group)


def test_prompts_that_t5_cannot_read_or_tell_apart_are_refused_and_the_others_made(
    generator: GroupGenerator,
) -> None:
    long = "In a green meadow at noon under a wide blue sky with soft clouds " * 3
    samples = [
        _ask_for(f"{long} a red kite", f"{long} a blue car"),
        build_sample(),
        _ask_for("傍晚的雪山上有一只红色风筝", "傍晚的雪山上有一个蓝色气球"),
        _ask_for("Красный воздушный змей", "Синий воздушный шар"),
    ]
    far, made, chinese, russian = generator.generate(samples)
    assert images_of(made).shape == (2, SIZE_PX, SIZE_PX, 3)
    found = [each.reason for each in (far, chinese, russian) if isinstance(each, Rejection)]
    assert found == [
        RejectReason.DIFFERENCE_BEYOND_WINDOW,
        RejectReason.UNKNOWN_SCRIPT,
        RejectReason.UNKNOWN_SCRIPT,
    ]


@contextmanager
def small_memory(pipeline: FluxPipeline, most_rows: int) -> Iterator[list[int]]:
    """Let the transformer run out of memory beyond so many rows; yield how many each call had."""
    calls: list[int] = []

    def check(_module: torch.nn.Module, _args: object, kwargs: dict[str, torch.Tensor]) -> None:
        calls.append(len(kwargs["hidden_states"]))
        if calls[-1] > most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    hook = pipeline.transformer.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


def test_what_does_not_fit_into_memory_is_made_in_halves_with_the_same_pixels(
    model_folder: Path, pipeline: FluxPipeline
) -> None:
    config = GenerationConfig(num_inference_steps=3, coupling_mode="log_bias")
    generator = load_generator(config, pipeline)
    samples = [build_sample(seed) for seed in range(5)]
    undisturbed = generator.generate(samples)
    with small_memory(pipeline, most_rows=4) as calls:  # two pairs
        halved = generator.generate(samples)
        num_failed = sum(rows > 4 for rows in calls)
        calls.clear()
        generator.generate(samples)
    assert num_failed == 1
    sizes = [one.batch_size for one in halved if isinstance(one, GeneratedSample)]
    assert sizes == [2, 2, 2, 2, 1]
    assert max(calls) <= 4, "what fits was not remembered"
    for one, other in zip(undisturbed, halved, strict=True):
        difference = images_of(one).astype(int) - images_of(other).astype(int)
        assert np.abs(difference).max() <= 1


def test_a_group_that_does_not_fit_alone_names_the_settings_that_help(
    pipeline: FluxPipeline,
) -> None:
    config = GenerationConfig(num_inference_steps=3, coupling_mode="log_bias")
    generator = load_generator(config, pipeline)
    with (
        small_memory(pipeline, most_rows=0),
        pytest.raises(ConfigError, match=r"--offload.*--width and --height.*--batch-size"),
    ):
        generator.generate([build_sample(seed) for seed in range(2)])
