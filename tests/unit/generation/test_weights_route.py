"""Ways of loading a model: what each does to the pixels, and which are refused by name."""

import json
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel, GGUFQuantizationConfig
from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.generation.generator import load_generator
from coupled_core.generation.licences import OTHER_WEIGHTS
from coupled_core.generation.loaded_weights import check_weights
from coupled_core.generation.memory_plan import QUANTIZED_BYTES
from coupled_core.generation.model_files import find_model_files
from coupled_core.generation.pipeline import load_pipeline, load_placed
from coupled_core.generation.placement import PlacedPipeline
from coupled_core.generation.provenance import resolve, resolve_generation
from coupled_core.generation.weights_route import TransformerLoader, WeightsRoute
from coupled_core.miniature import miniature_folder
from coupled_core.records import GeneratedSample
from coupled_core.runs.identity import generation_fingerprint
from tests.unit.generation.gguf_writer import write_gguf
from tests.unit.generation.tiny_pipeline import build_sample

FOLDER = miniature_folder("flux")
Images = np.ndarray

needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao")
needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="needs gguf")
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs bitsandbytes"
)
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")


def _make(pipeline: FluxPipeline | None = None, **settings: Any) -> Images:
    if pipeline is None:
        settings = {"device": "cpu", **settings}
    generator = load_generator(GenerationConfig(num_inference_steps=4, **settings), pipeline)
    made = generator.generate([build_sample(0)])[0]
    assert isinstance(made, GeneratedSample), made
    return np.stack(made.images).astype(np.int16)


@pytest.fixture(scope="module")
def plain() -> Images:
    return _make()


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA of rank 4 on all queries, keys and values."""
    torch.manual_seed(0)
    rows = {}
    for name, module in FluxPipeline.from_pretrained(
        FOLDER, dtype=torch.float32
    ).transformer.named_modules():
        if name.split(".")[-1] in ("to_q", "to_k", "to_v"):
            shapes = {"A": (4, module.in_features), "B": (module.out_features, 4)}
            for letter, shape in shapes.items():
                rows[f"transformer.{name}.lora_{letter}.weight"] = 0.05 * torch.randn(shape)
    path = tmp_path_factory.mktemp("loras") / "style.safetensors"
    save_file(rows, path)
    return path


def _state() -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for path in (FOLDER / "transformer").glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    return write_gguf(tmp_path_factory.mktemp("gguf") / "mini-q8.gguf", _state())


@needs_bitsandbytes
def test_nf4_weights_make_similar_images_and_take_the_memory_of_the_plan(
    plain: Images, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # bitsandbytes computes on CPUs, too; only diffusers asks for a GPU.
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda self, **_: None)
    files, place = find_model_files("miniature", None), {"pretrained_model_name_or_path": FOLDER}
    loader = TransformerLoader(WeightsRoute("nf4"), files, torch.float32, "cpu", place)
    transformer = loader.load()
    linear = [each for each in transformer.modules() if isinstance(each, torch.nn.Linear)]
    assert {each.weight.dtype for each in linear} == {torch.uint8}
    num_bytes = sum(each.weight.nbytes + each.weight.quant_state.absmax.nbytes for each in linear)
    num_parameters = sum(each.weight.quant_state.shape.numel() for each in linear)
    assert num_bytes / num_parameters == QUANTIZED_BYTES["nf4"]
    for each in linear:
        each.support_avx512bf16_for_cpu = False  # a kernel that fails below 64 inputs
    pipeline = FluxPipeline.from_pretrained(FOLDER, transformer=transformer, dtype=torch.float32)
    made = _make(pipeline, base_model="miniature")
    print(f"nf4: mean difference {np.abs(made - plain).mean():.3f} of 255")
    assert 0 < np.abs(made - plain).mean() < 15
    pipeline.load_lora_weights(str(lora), adapter_name="a")
    assert (_make(pipeline, base_model="miniature") != made).any()


def test_nf4_without_cuda_is_refused_with_what_to_take() -> None:
    pytest.importorskip("bitsandbytes")
    with pytest.raises(ConfigError, match="nf4 needs CUDA, the device is cpu: take int8"):
        resolve_generation(GenerationConfig(device="cpu", quantize="nf4"))


@needs_gguf
def test_a_gguf_file_makes_nearly_the_same_images(plain: Images, gguf_file: Path) -> None:
    distance = np.abs(_make(quantize=f"gguf:{gguf_file}") - plain).mean()
    print(f"gguf: mean difference {distance:.3f} of 255")
    assert 0 < distance < 0.6


def test_a_single_file_with_the_same_weights_makes_the_same_images(
    plain: Images, tmp_path: Path
) -> None:
    save_file(_state(), tmp_path / "mine.safetensors")
    assert (_make(transformer=str(tmp_path / "mine.safetensors")) == plain).all()


def test_text_encoders_loaded_in_turn_with_the_transformer_make_the_same_images(
    plain: Images,
) -> None:
    assert (_make(offload="disk") == plain).all()


def test_with_offload_disk_only_one_half_is_ever_loaded() -> None:
    generator = load_generator(GenerationConfig(device="cpu", offload="disk"))
    pipeline, seen = generator._pipeline, []
    encode = generator._family.encode

    def watch(prompt: str, length: int) -> Any:
        seen.append({each.device.type for each in pipeline.transformer.parameters()})
        return encode(prompt, length)

    generator._family.encode = watch  # type: ignore[method-assign]
    samples = [build_sample(0), build_sample(1)]
    generator.read_ahead(samples)
    assert seen == [{"meta"}] * 6
    assert pipeline.text_encoder is None and pipeline.text_encoder_2 is None
    assert {each.device.type for each in pipeline.transformer.parameters()} == {"cpu"}
    generator.generate(samples)
    assert len(seen) == 6  # nothing was read again


def test_with_offload_disk_the_transformer_that_makes_room_never_takes_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = load_generator(GenerationConfig(device="cpu", offload="disk"))
    generator.read_ahead([build_sample(0)])
    from_config, built = FluxTransformer2DModel.from_config, set[str]()

    def watch(*args: Any, **kwargs: Any) -> Any:
        model = from_config(*args, **kwargs)
        built.update(each.device.type for each in model.parameters())
        return model

    monkeypatch.setattr(FluxTransformer2DModel, "from_config", watch)
    generator.read_ahead([build_sample(1)])
    assert built == {"meta"}


def test_with_offload_disk_a_reading_that_failed_is_done_again(
    plain: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = GenerationConfig(device="cpu", offload="disk", num_inference_steps=4)
    generator = load_generator(config)
    load = FluxTransformer2DModel.from_pretrained

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError("the network drive is gone")

    monkeypatch.setattr(FluxTransformer2DModel, "from_pretrained", fail)
    with pytest.raises(ModelUnavailableError, match="the network drive is gone"):
        generator.generate([build_sample(0)])
    monkeypatch.setattr(FluxTransformer2DModel, "from_pretrained", load)
    (made,) = generator.generate([build_sample(0)])
    assert isinstance(made, GeneratedSample)
    assert (np.stack(made.images) == plain).all()


@needs_peft
def test_a_lora_gives_the_same_pixels_loaded_fused_and_fused_and_unloaded(lora: Path) -> None:
    def load(*steps: str) -> Images:
        pipeline = FluxPipeline.from_pretrained(FOLDER, dtype=torch.float32)
        pipeline.load_lora_weights(str(lora), adapter_name="a")
        for step in steps:
            getattr(pipeline, step)()
        return _make(pipeline, base_model="miniature")

    loaded = load()
    assert (load("fuse_lora") == loaded).all()
    assert (load("fuse_lora", "unload_lora_weights") == loaded).all()
    assert (_make(lora=(str(lora),)) == loaded).all()


@needs_peft
@needs_torchao
def test_a_lora_fused_into_int8_weights_is_the_same_unloaded_but_not_the_same_as_beside_them(
    lora: Path,
) -> None:
    def load(*steps: str) -> Images:
        resolved = resolve(GenerationConfig(device="cpu", quantize="int8"))
        pipeline = load_pipeline(resolved, "none")
        pipeline.load_lora_weights(str(lora), adapter_name="a")
        for step in steps:
            getattr(pipeline, step)()
        return _make(pipeline, base_model="miniature")

    beside, fused = load(), load("fuse_lora")
    assert (load("fuse_lora", "unload_lora_weights") == fused).all()
    distance = np.abs(fused - beside)
    print(f"int8, LoRA fused: mean difference {distance.mean():.3f}, at most {distance.max()}")
    assert 0 < distance.mean() < 1  # the sum is rounded to 8 bits anew


@needs_peft
def test_a_lora_of_a_loaded_pipeline_is_named_by_its_content_and_weight(lora: Path) -> None:
    def label(scale: float = 1.0, weight: float = 1.0, *, is_on: bool = True) -> str:
        pipeline = FluxPipeline.from_pretrained(FOLDER, dtype=torch.float32)
        rows = {key: scale * value for key, value in load_file(lora).items()}
        pipeline.load_lora_weights(rows, adapter_name="a")
        pipeline.set_adapters(["a"], [weight])
        if not is_on:
            pipeline.disable_lora()
        return load_generator(GenerationConfig(base_model="miniature"), pipeline).provenance.weights

    assert re.fullmatch(r"lora=a@[0-9a-f]{16}", label())
    assert label() == label()
    assert len({label(), label(scale=2.0), label(weight=0.5)}) == 3
    assert label(is_on=False) == ""


@needs_peft
def test_a_lora_of_the_hub_is_the_file_in_its_cache(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    place = tmp_path / "models--me--style"
    for name in ("pytorch_lora_weights.safetensors", "other.safetensors"):
        (place / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        shutil.copy(lora, place / "snapshots" / commit / name)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    loras = ("me/style:0.5", "me/style/other.safetensors:0.5")
    weights = resolve_generation(GenerationConfig(device="cpu", lora=loras)).weights
    assert weights.startswith("lora=pytorch_lora_weights.safetensors@")
    whole = _make(lora=(str(lora),))
    assert np.abs(_make(lora=loras) - whole).max() <= 1


def test_the_manifest_says_that_weights_of_other_files_have_terms_of_their_own(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file(_state(), file)
    made = resolve_generation(GenerationConfig(device="cpu", transformer=str(file)))
    assert made.use_restrictions.endswith(OTHER_WEIGHTS)
    assert OTHER_WEIGHTS not in resolve_generation(GenerationConfig(device="cpu")).use_restrictions


def test_a_loaded_pipeline_without_its_text_encoders_is_refused_by_their_names() -> None:
    pipeline = FluxPipeline.from_pretrained(FOLDER, text_encoder=None, text_encoder_2=None)
    with pytest.raises(ConfigError, match="it has no text_encoder_2 and no text_encoder"):
        load_generator(GenerationConfig(base_model="miniature"), pipeline)


@needs_peft
def test_the_part_of_a_lora_that_is_the_text_encoders_counts_too(
    lora: Path, tmp_path: Path
) -> None:
    def load() -> FluxPipeline:
        return FluxPipeline.from_pretrained(FOLDER, dtype=torch.float32)

    rows, both = load_file(lora), tmp_path / "both.safetensors"
    torch.manual_seed(0)
    for name, module in load().text_encoder.named_modules():
        if name.endswith(("q_proj", "k_proj", "v_proj")):
            key = f"text_encoder.{name}.lora_"
            rows[f"{key}A.weight"] = 0.5 * torch.randn(4, module.in_features)
            rows[f"{key}B.weight"] = 0.5 * torch.randn(module.out_features, 4)
    save_file(rows, both)
    pipeline = load()
    pipeline.load_lora_weights(str(both), adapter_name="a")
    stock, ours = _make(pipeline, base_model="miniature"), _make(lora=(str(both),))
    assert np.abs(ours - stock).max() <= 1
    assert np.abs(ours - _make(lora=(str(lora),))).max() > 1
    # Offload disk loads text encoders without it, and auto may choose that.
    config = GenerationConfig(device="cpu", offload="auto", lora=(str(both),))
    with pytest.raises(ConfigError, match="changes text encoders"):
        load_placed(resolve(config), "disk")
    with pytest.raises(ConfigError, match="changes text encoders"):
        resolve(config.model_copy(update={"offload": "disk"}))


@needs_peft
@pytest.mark.parametrize("quantize", ["none", pytest.param("int8", marks=needs_torchao)])
def test_a_lora_counts_where_text_encoders_and_transformer_take_turns(
    lora: Path, quantize: str
) -> None:
    settings = {"quantize": quantize, "lora": (str(lora),)}
    assert (_make(offload="disk", **settings) == _make(**settings)).all()


@needs_peft
def test_a_lora_counts_by_its_weight_and_several_add_up(plain: Images, lora: Path) -> None:
    whole, none = _make(lora=(str(lora),)), _make(lora=(f"{lora}:0",))
    assert (none == plain).all() and (whole != plain).any()
    halves = _make(lora=(f"{lora}:0.5", f"{lora}:0.5"))
    assert np.abs(halves - whole).max() <= 1


@needs_peft
@needs_torchao
def test_a_lora_beside_int8_weights_is_the_same_with_offload_group(lora: Path) -> None:
    resolved = resolve(GenerationConfig(device="cpu", quantize="int8", lora=(str(lora),)))
    pipeline = load_pipeline(resolved, "none")
    assert pipeline.get_active_adapters() == ["lora_0"]  # merging would round it away
    resident = _make(pipeline, base_model="miniature")
    PlacedPipeline(pipeline, "cpu", "group")
    assert (_make(pipeline, base_model="miniature") == resident).all()


@needs_peft
@needs_gguf
def test_a_lora_stays_beside_gguf_weights(lora: Path, gguf_file: Path) -> None:
    quantize = f"gguf:{gguf_file}"
    with_lora, without = _make(quantize=quantize, lora=(str(lora),)), _make(quantize=quantize)
    assert (with_lora != without).any()


def _cast_then_adapt(pipeline: FluxPipeline, lora: Path) -> None:
    pipeline.transformer.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32
    )
    pipeline.load_lora_weights(str(lora))


def _fuse_qkv_beside_lora(pipeline: FluxPipeline, lora: Path) -> None:
    pipeline.load_lora_weights(str(lora))
    pipeline.transformer.fuse_qkv_projections()


@needs_peft
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_fuse_qkv_beside_lora, "fused QKV projections with a LoRA that is not fused"),
        (_cast_then_adapt, "layerwise casting was switched on before a LoRA"),
    ],
)
def test_what_would_drop_a_lora_silently_is_refused(
    spoil: Callable[[FluxPipeline, Path], None], named: str, lora: Path
) -> None:
    pipeline = FluxPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    spoil(pipeline, lora)
    with pytest.raises(ConfigError, match=named):
        load_generator(GenerationConfig(base_model="miniature"), pipeline)


@needs_peft
def test_the_right_order_of_casting_and_lora_is_not_refused(lora: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    pipeline.load_lora_weights(str(lora))
    pipeline.transformer.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32
    )
    check_weights(pipeline)


@needs_gguf
@needs_peft
def test_fusing_anything_into_gguf_weights_is_refused(gguf_file: Path, lora: Path) -> None:
    transformer = FluxTransformer2DModel.from_single_file(
        str(gguf_file), config=str(FOLDER), subfolder="transformer", dtype=torch.float32,
        quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32),
    )  # fmt: skip
    pipeline = FluxPipeline.from_pretrained(FOLDER, transformer=transformer, dtype=torch.float32)
    pipeline.load_lora_weights(str(lora))
    adapted = [each for each in transformer.modules() if hasattr(each, "merged_adapters")]
    adapted[0].merged_adapters.append("default_0")  # which merging would do, if it went through
    with pytest.raises(ConfigError, match="a LoRA fused into GGUF weights"):
        check_weights(pipeline)
    adapted[0].merged_adapters.clear()
    transformer.transformer_blocks[0].attn.fused_projections = True
    pipeline.unload_lora_weights()
    with pytest.raises(ConfigError, match="fused QKV projections of weights quantised by gguf"):
        check_weights(pipeline)


@needs_torchao
def test_fused_projections_of_int8_weights_are_refused() -> None:
    resolved = resolve(GenerationConfig(device="cpu", quantize="int8"))
    pipeline = load_pipeline(resolved, "none")
    pipeline.transformer.transformer_blocks[0].attn.fused_projections = True
    with pytest.raises(ConfigError, match="fused QKV projections of weights quantised by torchao"):
        check_weights(pipeline)


def _save_int8(folder: Path) -> Any:
    """Save the miniature with its transformer in int8; return that."""
    shutil.copytree(FOLDER, folder)
    shutil.rmtree(folder / "transformer")
    resolved = resolve(GenerationConfig(device="cpu", quantize="int8"))
    transformer = load_pipeline(resolved, "none").transformer
    transformer.save_pretrained(folder / "transformer")
    return transformer


@needs_torchao
def test_a_saved_quantised_folder_is_under_the_licence_of_what_it_says_it_was_made_of(
    tmp_path: Path,
) -> None:
    cached = "/home/me/hub/models--black-forest-labs--FLUX.1-dev/snapshots/ab/transformer"
    transformer = _save_int8(tmp_path / "int8")
    transformer.register_to_config(_name_or_path=cached)  # as loading from the hub leaves it
    transformer.save_pretrained(tmp_path / "int8/transformer")
    known = find_model_files(str(tmp_path / "int8"), None).known
    assert (known.license, known.training) == (
        "FLUX.1 [dev] Non-Commercial License", "not competing",
    )  # fmt: skip
    assert "record that it was made of black-forest-labs/FLUX.1-dev" in known.use_restrictions


@needs_torchao
def test_a_saved_quantised_folder_says_so_in_its_provenance(tmp_path: Path, plain: Images) -> None:
    folder = tmp_path / "int8"
    _save_int8(folder)
    made = resolve_generation(GenerationConfig(base_model=str(folder), device="cpu"))
    assert made.weights == "stored-torchao-Int8WeightOnlyConfig"
    assert (_make(base_model=str(folder), guidance_scale=0.0) != plain).any()
    with pytest.raises(ConfigError, match="is quantised already"):
        resolve(GenerationConfig(base_model=str(folder), quantize="int8"))


def test_settings_that_are_not_set_leave_provenance_and_ids_as_they_were() -> None:
    facts = dict(vars(resolve_generation(GenerationConfig(device="cpu"))))
    assert facts["weights"] == ""
    before = {name: value for name, value in facts.items() if name != "weights"}
    assert generation_fingerprint(facts) == generation_fingerprint(before)
    assert generation_fingerprint(facts | {"weights": "int8"}) != generation_fingerprint(before)
    dumped = GenerationConfig().model_dump()
    assert not {"quantize", "lora", "transformer"} & dumped.keys()


@needs_torchao
def test_a_single_file_is_not_quantised_without_a_word(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "mine.safetensors")
    config = GenerationConfig(
        device="cpu", quantize="int8", transformer=str(tmp_path / "mine.safetensors")
    )
    with pytest.raises(ConfigError, match="do not go together"):
        resolve_generation(config)


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("x.safetensors", "transformer", "is damaged"),
        ("x.ckpt", "transformer", r"expected a \.safetensors file"),
        pytest.param("x.gguf", "gguf", "is no GGUF file", marks=needs_gguf),
    ],
)
def test_a_file_that_holds_no_weights_is_refused_before_anything_is_loaded(
    tmp_path: Path, name: str, option: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text("a page that says where to log in")
    settings = {"quantize": f"gguf:{path}"} if option == "gguf" else {"transformer": str(path)}
    with pytest.raises(ModelUnavailableError, match=text):
        resolve_generation(GenerationConfig(device="cpu", **settings))


@needs_peft
def test_a_lora_of_the_hub_that_cannot_be_fetched_says_how_to_name_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailableError, match=r"LoRA me/style .* me/style/FILE") as failure:
        resolve_generation(GenerationConfig(device="cpu", lora=("me/style:0.8",)))
    assert "hf download" not in str(failure.value)


@needs_peft
def test_the_weight_of_a_lora_is_a_finite_number(lora: Path) -> None:
    with pytest.raises(ConfigError, match="expected a finite weight after the colon, got nan"):
        resolve_generation(GenerationConfig(device="cpu", lora=(f"{lora}:nan",)))


@needs_torchao
@needs_peft
def test_provenance_names_contents_and_not_places(lora: Path, tmp_path: Path) -> None:
    def name(path: Path) -> str:
        config = GenerationConfig(device="cpu", quantize="int8", lora=(f"{path}:0.8",))
        return resolve_generation(config).weights

    moved = tmp_path / lora.name
    shutil.copy(lora, moved)
    assert name(lora) == name(moved)
    assert name(lora).startswith("int8 lora=style.safetensors@")
    assert name(lora).endswith("*0.8")
    rows = load_file(moved)
    save_file({key: 2 * value for key, value in rows.items()}, moved)
    assert name(lora) != name(moved)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"quantize": "int4"}, ValueError, "int8, int8-dynamic, fp8, nf4 or gguf:FILE"),
        ({"quantize": "nunchaku"}, ValueError, "inside blocks of its own"),
        ({"lora": ("nothing-here",)}, ModelUnavailableError, "it is not a hub id"),
        ({"transformer": "gone.safetensors"}, ModelUnavailableError, "there is no file gone"),
        ({"offload": "group"}, ConfigError, "the device is cpu"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_anything_is(
    settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        resolve_generation(GenerationConfig.model_validate({"device": "cpu", **settings}))


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import coupled_core.generation.weights_route as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"torchao is missing; type: pip install .*\[quantize\]"):
        resolve_generation(GenerationConfig(device="cpu", quantize="int8"))


def test_a_file_that_is_no_lora_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    save_file({"weight": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelUnavailableError, match="holds no LoRA"):
        resolve_generation(GenerationConfig(device="cpu", lora=(f"{tmp_path / 'x.safetensors'}",)))


def test_a_folder_quantised_by_nunchaku_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "nunchaku"
    shutil.copytree(FOLDER, folder)
    path = folder / "transformer" / "config.json"
    config = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "nunchaku"}}
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="nunchaku, which computes attention inside"):
        resolve(GenerationConfig(base_model=str(folder), device="cpu"))
