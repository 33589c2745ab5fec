"""How the transformer's weights come to be: quantised, from a single file, with LoRAs.

What is asked for is resolved to files and their hashes before anything is loaded, so that pairs get
their ids from it, and what cannot work is refused by name. A LoRA is merged into plain weights,
which costs nothing afterwards and gives the same pixels; beside quantised weights it stays as it
is, because merging would round it away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import escape
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.generation.hub_files import fetch_file
from coupled_core.generation.model_files import ModelFiles, find_transformer_file, hash_file
from coupled_core.models.files import require_files

_PACKAGES: Mapping[str, tuple[str, str]] = {
    "int8": ("torchao", 'pip install -c infra/constraints.txt ".[quantize]"'),
    "int8-dynamic": ("torchao", 'pip install -c infra/constraints.txt ".[quantize]"'),
    "fp8": ("torchao", 'pip install -c infra/constraints.txt ".[quantize]"'),
    "gguf": ("gguf", 'pip install -c infra/constraints.txt ".[quantize]"'),
    "nf4": ("bitsandbytes", "pip install bitsandbytes"),
    "lora": ("peft", 'pip install -c infra/constraints.txt ".[lora]"'),
}
_DEFAULT_LORA = "pytorch_lora_weights.safetensors"
HASH_DIGITS = 16
"""Of a content, in labels."""


@dataclass(frozen=True)
class Lora:
    """A LoRA on this disk."""

    path: Path
    weight: float
    label: str
    """Name, hash and weight."""
    changes_texts: bool = False
    """Whether text encoders are changed, too."""


@dataclass(frozen=True)
class WeightsRoute:
    """Where the transformer's weights come from, and what is done to them."""

    quantize: str = "none"
    """One of `config.QUANTIZATIONS`, or "gguf"."""
    file: Path | None = None
    """Holds the weights in the place of the base model's."""
    file_label: str = ""
    loras: tuple[Lora, ...] = ()
    stored: str = ""
    """How the base model's own files are quantised."""

    @property
    def label(self) -> str:
        """Name all of it, with hashes of contents; empty: the base model as it is."""
        first = self.quantize if self.quantize != "none" else self.stored
        file = f"transformer={self.file_label}" if self.file_label else ""
        return " ".join(filter(None, (first, file, *(f"lora={each.label}" for each in self.loras))))

    @property
    def is_quantized(self) -> bool:
        """Return whether the transformer's weights are stored in fewer bits."""
        return self.quantize != "none" or bool(self.stored)

    def refuse_for_disk(self) -> None:
        """Refuse LoRAs of text encoders, which offload disk loads by themselves, without them.

        Raises:
            ConfigError: naming the LoRA.
        """
        for lora in self.loras:
            if lora.changes_texts:
                raise ConfigError(
                    f"LoRA {lora.path} changes text encoders, too, which --offload disk loads by "
                    "themselves: use --offload none, model or group"
                )


AS_STORED = WeightsRoute()
"""The base model as it is."""


def resolve_route(config: GenerationConfig, files: ModelFiles, device: str) -> WeightsRoute:
    """Find what the settings name, and refuse what cannot work.

    Raises:
        ConfigError: a package is missing, or settings exclude each other.
        ModelUnavailableError: a file is not there, or is not what it has to be.
    """
    quantize = config.quantize.partition(":")[0]
    _refuse_unfit(config, files, device, quantize)
    path, is_gguf = find_transformer_file(config)
    if path is not None:
        _require_weights_file(path, is_gguf=is_gguf)
    route = WeightsRoute(
        quantize,
        path,
        "" if path is None else _label(path),
        tuple(map(_find_lora, config.lora)),
        describe_stored(files.quantization),
    )
    if config.offload == "disk":
        route.refuse_for_disk()
    return route


def _refuse_unfit(config: GenerationConfig, files: ModelFiles, device: str, quantize: str) -> None:
    wanted = [name for name in (quantize, "lora" if config.lora else "") if name in _PACKAGES]
    for name in wanted:
        package, install = _PACKAGES[name]
        if find_spec(package) is None:
            option = "lora" if name == "lora" else "quantize"
            raise ConfigError(f"--{option}: the package {package} is missing; type: {install}")
    if quantize == "nf4" and not device.startswith("cuda"):
        raise ConfigError(f"--quantize nf4 needs CUDA, the device is {device}: take int8")
    if quantize != "none" and config.transformer is not None:
        # diffusers 0.42 loads such a file without quantising it, and says nothing.
        raise ConfigError(
            "--quantize and --transformer do not go together: leave one out, or make a GGUF file "
            "of the transformer's and take --quantize gguf:FILE"
        )
    if files.quantization and (quantize != "none" or config.transformer is not None):
        raise ConfigError(
            f"base model {files.name} is quantised already "
            f"({describe_stored(files.quantization)}): leave out --quantize and --transformer"
        )
    if "nunchaku" in str(files.quantization.get("quant_method")):
        raise ConfigError(
            f"base model {files.name} is quantised by nunchaku, which computes attention inside "
            "blocks of its own, where it cannot be coupled: take the model it was made of, with "
            "--quantize"
        )


def _require_weights_file(path: Path, *, is_gguf: bool) -> None:
    """Refuse what is no such file now, and not when images are due; nothing is unpickled."""
    if not path.is_file():
        raise ModelUnavailableError(f"there is no file {path} to read the transformer from")
    if is_gguf:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelUnavailableError(f"{path} is no GGUF file: fetch it again")
    elif path.suffix != ".safetensors":
        raise ModelUnavailableError(
            f"--transformer {path}: expected a .safetensors file; one of GGUF goes with "
            f"--quantize gguf:{path}"
        )
    else:
        require_files(path.parent, [escape(path.name)])


def describe_stored(quantization: Mapping[str, Any]) -> str:
    """Return in a word how a saved model is quantised, by its configuration; empty: it is not."""
    if not quantization:
        return ""
    kind = quantization.get("quant_type")
    if isinstance(kind, Mapping):  # torchao's own configuration
        kind = (kind.get("default") or {}).get("_type")
    return f"stored-{quantization.get('quant_method')}" + (f"-{kind}" if kind else "")


def _find_lora(text: str) -> Lora:
    name, weight = _split_weight(text)
    path = Path(name).expanduser()
    if not path.is_file():
        owner, _, rest = name.partition("/")
        repository, _, file = rest.partition("/")
        if not repository or name.startswith((".", "/", "~")):
            raise ModelUnavailableError(
                f"LoRA {name!r}: there is no such file, and it is not a hub id (OWNER/NAME or "
                "OWNER/NAME/FILE)"
            )
        path = fetch_file(f"{owner}/{repository}", file or _DEFAULT_LORA, what="LoRA")
    names = _read_lora(path)
    changes_texts = any(name.startswith(("text_encoder", "lora_te")) for name in names)
    return Lora(path, weight, f"{_label(path)}*{weight:g}", changes_texts)


def _split_weight(text: str) -> tuple[str, float]:
    name, colon, last = text.rpartition(":")
    try:
        weight = float(last) if colon else 1.0
    except ValueError:
        return text, 1.0
    if not isfinite(weight):
        raise ConfigError(f"--lora {text}: expected a finite weight after the colon, got {last}")
    return name if colon else text, weight


def _read_lora(path: Path) -> list[str]:
    """Return the names of a LoRA's tensors, or refuse what is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except (OSError, SafetensorError) as error:
        raise ModelUnavailableError(f"{path} is no LoRA in safetensors: {error}") from error
    if not any("lora" in name.lower() for name in names):
        raise ModelUnavailableError(
            f"{path} holds no LoRA: none of its {len(names)} tensors is named so, the first is "
            f"{min(names, default='')!r}. Weights of a whole transformer go with --transformer"
        )
    return names


def _label(path: Path) -> str:
    return f"{path.name}@{hash_file(path)[:HASH_DIGITS]}"


@dataclass(frozen=True)
class TransformerLoader:
    """Loads the transformer of a pipeline along a route."""

    route: WeightsRoute
    files: ModelFiles
    dtype: Any
    """Of torch."""
    device: str
    location: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `from_pretrained` that say where the pipeline lies."""

    def load(self) -> Any:
        """Return the transformer; None: as the pipeline itself loads it."""
        import diffusers
        import torch

        route = self.route
        if route.file is None and route.quantize == "none":
            return None
        model_class = getattr(diffusers, self.files.transformer_class)
        more = {"dtype": self.dtype}
        if route.quantize != "none":
            more["quantization_config"] = _quantization_config(route.quantize, self.dtype)
        if route.quantize == "nf4":
            # Quantised where it computes; of itself diffusers takes the first GPU, whatever device
            # was asked for.
            more["device_map"] = {"": str(torch.empty(0, device=self.device).device)}
        if route.file is None:
            return model_class.from_pretrained(**self.location, subfolder="transformer", **more)
        place = dict(self.location)
        config = place.pop("pretrained_model_name_or_path")
        if "revision" in place:
            place["config_revision"] = place.pop("revision")
        return model_class.from_single_file(
            str(route.file), config=config, subfolder="transformer", **place, **more
        )

    def add_loras(self, pipeline: Any) -> None:
        """Put the LoRAs into a pipeline whose transformer is loaded."""
        if not self.route.loras:
            return
        names = [f"lora_{i}" for i in range(len(self.route.loras))]
        for name, lora in zip(names, self.route.loras, strict=True):
            place = {"weight_name": lora.path.name, "local_files_only": True}
            pipeline.load_lora_weights(str(lora.path.parent), adapter_name=name, **place)
            if name not in pipeline.get_list_adapters().get("transformer", ()):
                raise ModelUnavailableError(
                    f"LoRA {lora.path} changes nothing of {self.files.name}: it was made for "
                    "another model"
                )
        pipeline.set_adapters(names, [lora.weight for lora in self.route.loras])
        if not self.route.is_quantized:
            # Of themselves pipelines fuse the transformer's part alone; a text encoder's would be
            # unloaded without ever having counted.
            parts = list(pipeline.get_list_adapters())
            pipeline.fuse_lora(components=parts, adapter_names=names)
            pipeline.unload_lora_weights()


def _quantization_config(quantize: str, dtype: Any) -> Any:
    import diffusers

    if quantize == "gguf":
        return diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    if quantize == "nf4":
        return diffusers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    from torchao import quantization

    kind = {
        "int8": "Int8WeightOnlyConfig",
        "int8-dynamic": "Int8DynamicActivationInt8WeightConfig",
        "fp8": "Float8WeightOnlyConfig",
    }[quantize]
    return diffusers.TorchAoConfig(getattr(quantization, kind)())
