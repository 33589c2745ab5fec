"""The weights of a pipeline that somebody else has loaded: what they are, and if they go together.

Hugging Face's libraries let them be combined in ways that go wrong without a word.
"""

import hashlib
import json
from typing import Any

from coupled_core.errors import ConfigError
from coupled_core.generation.weights_route import HASH_DIGITS, describe_stored


def check_weights(pipeline: Any) -> None:
    """Refuse a loaded pipeline whose weights are combined in a way that silently goes wrong.

    Raises:
        ConfigError: naming the combination, and what to do.
    """
    transformer = pipeline.transformer
    modules = list(transformer.modules())
    adapted = [layer for _, layer in _list_adapted(transformer)]
    is_fused = any(getattr(each, "fused_projections", False) for each in modules)
    method = _quant_method(transformer)
    if is_fused and any(each.lora_A for each in adapted):
        raise ConfigError(
            "fused QKV projections with a LoRA that is not fused: the LoRA's part of query, key "
            "and value would be dropped without a word. Call fuse_lora() and unload_lora_weights() "
            "first, or unfuse_qkv_projections()"
        )
    if is_fused and method:
        raise ConfigError(
            f"fused QKV projections of weights quantised by {method}: fusing joins what has a "
            "scale for each part. Call unfuse_qkv_projections()"
        )
    if method == "gguf" and any(each.merged for each in adapted):
        raise ConfigError(
            "a LoRA fused into GGUF weights: they cannot take it up. Call unfuse_lora() and leave "
            "it beside them"
        )
    if any(_was_cast_before_lora(each) for each in adapted):
        raise ConfigError(
            "layerwise casting was switched on before a LoRA was loaded: it would be stored "
            "and fed in 8 bits. Load the LoRA first, then call enable_layerwise_casting()"
        )


def describe_loaded(pipeline: Any) -> str:
    """Return what is known of the weights of a pipeline that somebody else loaded."""
    transformer = pipeline.transformer
    config: Any = transformer.config.get("quantization_config") or {}
    stored = config.to_dict() if hasattr(config, "to_dict") else config
    plain = json.loads(json.dumps(stored, default=str))
    loras = (f"lora={label}" for label in _label_adapters(pipeline))
    return " ".join(filter(None, (describe_stored(plain), *loras)))


def _label_adapters(pipeline: Any) -> list[str]:
    """Return name and hash of each LoRA that lies beside the weights of a part, and counts."""
    digests: dict[str, Any] = {}
    for part, model in pipeline.components.items():
        for name, layer in _list_adapted(model) if getattr(model, "peft_config", None) else ():
            counting = () if layer.disable_adapters else layer.active_adapters
            for adapter in (each for each in counting if each in layer.lora_A):
                digest = digests.setdefault(adapter, hashlib.sha256())
                digest.update(f"{part}\0{name}\0{layer.scaling[adapter]}\0".encode())
                for module in (layer.lora_A[adapter], layer.lora_B[adapter]):
                    digest.update(_read_bytes(module.weight))
    return [f"{name}@{digest.hexdigest()[:HASH_DIGITS]}" for name, digest in digests.items()]


def _list_adapted(model: Any) -> list[tuple[str, Any]]:
    """Return the layers that have LoRAs beside their weights, by name."""
    return [
        (name, each)
        for name, each in model.named_modules()
        if hasattr(each, "lora_A") and hasattr(each, "base_layer")
    ]


def _read_bytes(rows: Any) -> bytes:
    """Return a tensor's content; of weights that an offload has taken away only their shape."""
    import torch

    if rows.is_meta:
        return str(tuple(rows.shape)).encode()
    content: bytes = rows.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    return content


def _quant_method(transformer: Any) -> str:
    quantizer = getattr(transformer, "hf_quantizer", None)
    config = getattr(quantizer, "quantization_config", None)
    return str(getattr(config, "quant_method", "")).rpartition(".")[2].lower()


def _was_cast_before_lora(layer: Any) -> bool:
    """Return whether the layer below a LoRA is cast, and nothing keeps inputs from being so."""

    def has_hook(module: Any, name: str) -> bool:
        registry = getattr(module, "_diffusers_hook", None)
        return registry is not None and registry.get_hook(name) is not None

    is_cast = has_hook(layer.base_layer, "layerwise_casting")
    return is_cast and not has_hook(layer, "peft_autocast_disable")
