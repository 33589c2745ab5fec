"""Loads a base model's pipeline, or checks one that somebody else has loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import diffusers
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from safetensors import SafetensorError

from coupled_core.config import GenerationConfig, Offload
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.generation.families.family import find_spec, open_family
from coupled_core.generation.families.spec import TokenizerSpec, describe_supported
from coupled_core.generation.known_models import describe_unknown_model, list_known_models
from coupled_core.generation.loaded_weights import check_weights, describe_loaded
from coupled_core.generation.model_files import ModelFiles, require_weights
from coupled_core.generation.placement import PlacedPipeline, Reload
from coupled_core.generation.provenance import ResolvedGeneration, resolve_on
from coupled_core.generation.weights_route import TransformerLoader
from coupled_core.models.files import WEIGHT_ERRORS, describe_weights_error
from coupled_core.models.memory import is_out_of_memory

_MOST_GRAPHS = 32
"""Of one class of blocks: a few for each mode, and at most 12 of one mode (one text or two, one row
or several, rows in one piece or not). At torch's own limit of 8 all others would run uncompiled."""


def compile_blocks(transformer: Any, backend: str = "inductor") -> None:
    """Compile each class of repeated blocks once for all sizes, as they come up.

    Sizes stay variables of the graphs: of images, of texts, of batches (the last one of a shard is
    shorter), and of the regions, which differ from group to group.
    """
    transformer.compile_repeated_blocks(backend=backend, dynamic=True, recompile_limit=_MOST_GRAPHS)


def load_pipeline(resolved: ResolvedGeneration, offload: str) -> DiffusionPipeline:
    """Return the pipeline of `load_placed`, for those who never ask for more room."""
    place: Offload = "none" if offload in ("auto", "disk") else cast(Offload, offload)
    return load_placed(resolved, place).pipeline


def load_placed(
    resolved: ResolvedGeneration, offload: Offload, *, may_move: bool = False
) -> PlacedPipeline:
    """Load the weights and place them.

    Args:
        resolved: which model, in which dtype, on which device.
        offload: where model parts wait while they are not in use.
        may_move: whether more of them may leave the device where memory lacks.

    Raises:
        ConfigError: a LoRA does not go with offload disk.
        ModelUnavailableError: the weights are missing or do not load.
    """
    files = resolved.files
    if files.folder is not None:
        require_weights(files.name, has_own_transformer=resolved.route.file is None)
    loader = _Loader(resolved)
    reload = None
    if offload == "disk":
        resolved.route.refuse_for_disk()  # nobody may have asked for it: auto takes it, too
        pipeline = loader.load(**dict.fromkeys(loader.encoders), transformer=loader.skeleton())
        reload = Reload(loader.load_texts, loader.load_transformer, loader.skeleton)
        _check_scheduler(pipeline)
    else:
        pipeline = loader.load()
        check_pipeline(pipeline)
    # Progress is told by ours, once for all stages.
    pipeline.set_progress_bar_config(disable=True)
    try:
        return PlacedPipeline(pipeline, resolved.device, offload, may_move=may_move, reload=reload)
    except Exception as exc:
        if is_out_of_memory(exc):
            raise _no_room(files.name, f"the memory of {resolved.device}", exc) from exc
        raise


class _Loader:
    """Loads a pipeline, or halves of it, from where a model's files lie."""

    def __init__(self, resolved: ResolvedGeneration) -> None:
        files = self._files = resolved.files
        # A folder is taken as it is: nothing is fetched in place of a file that it lacks.
        self._location: dict[str, Any] = (
            {"pretrained_model_name_or_path": files.name, "revision": files.revision}
            if files.folder is None
            else {"pretrained_model_name_or_path": str(files.folder), "local_files_only": True}
        )
        self._dtype = getattr(torch, resolved.provenance.dtype)
        self._weights = TransformerLoader(
            resolved.route, files, self._dtype, resolved.device, self._location
        )
        self.encoders = [each.encoder for each in files.family.tokenizers]

    def load(self, **given: Any) -> DiffusionPipeline:
        """Return the pipeline, with given parts in the place of its own; None: without one."""
        is_whole = "transformer" not in given
        with self._named_errors():
            if is_whole and (special := self._weights.load()) is not None:
                given["transformer"] = special
            pipeline_class = getattr(diffusers, self._files.family.pipeline_class)
            pipeline = pipeline_class.from_pretrained(**self._location, dtype=self._dtype, **given)
            if is_whole:
                self._weights.add_loras(pipeline)
        return cast(DiffusionPipeline, pipeline)

    def skeleton(self) -> Any:
        """Return the transformer without weights."""
        model_class = getattr(diffusers, self._files.transformer_class)
        config = model_class.load_config(**self._location, subfolder="transformer")
        config.pop("quantization_config", None)
        with torch.device("meta"):
            return model_class.from_config(config)

    def load_texts(self) -> dict[str, Any]:
        """Return the text encoders by name, in main memory."""
        half = self.load(transformer=None, vae=None)
        check_pipeline(half)
        return {name: getattr(half, name) for name in self.encoders}

    def load_transformer(self) -> Any:
        """Return the transformer, in main memory."""
        return self.load(**dict.fromkeys(self.encoders), vae=None).transformer

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        name = self._files.name
        try:
            yield
        except Exception as exc:
            if is_out_of_memory(exc):
                raise _no_room(name, "the main memory of this machine", exc) from exc
            if not isinstance(exc, (SafetensorError, *WEIGHT_ERRORS)):
                raise
            raise ModelUnavailableError(
                f"base model {name} does not load: {describe_weights_error(exc)}\n"
                "For a hub model accept its licence on its hub page and log in with `hf auth "
                "login` or HF_TOKEN; for a folder check that every file of the pipeline is there."
            ) from exc


def _no_room(name: str, where: str, error: Exception) -> ConfigError:
    first = str(error).partition("\n")[0]
    return ConfigError(
        f"base model {name} does not fit into {where} ({first}): end what else uses it, choose a "
        "smaller --dtype, or, on an accelerator, --offload auto (model or sequential: at once)"
    )


_SETTLED_BY_LOADING = (
    "revision", "dtype", "device", "offload", "quantize", "lora", "transformer", "compile",
)  # fmt: skip


def resolve_pipeline(config: GenerationConfig, pipeline: DiffusionPipeline) -> ResolvedGeneration:
    """Do for a pipeline that somebody else has loaded what `resolve` does before loading one.

    Args:
        config: `base_model` says which model it is, where that is given; else its own name does.
        pipeline: It keeps its device and dtype.

    Raises:
        ConfigError: it is of another class, or settings want to load it otherwise.
        ModelUnavailableError: its scheduler does not take plain Euler steps.
    """
    spec = find_spec(pipeline)
    if spec is None:
        raise ConfigError(
            f"pipeline: expected one of {describe_supported()}, got a {type(pipeline).__name__}"
        )
    if late := config.model_fields_set.intersection(_SETTLED_BY_LOADING):
        raise ConfigError(
            f"{', '.join(sorted(late))}: these take effect when a pipeline is loaded, and this one "
            "was: leave them out, or leave out the pipeline"
        )
    encoders = [each.encoder for each in spec.tokenizers]
    wanted = ("transformer", "vae", *encoders, *(each.folder for each in spec.tokenizers))
    if missing := [part for part in wanted if getattr(pipeline, part) is None]:
        raise ConfigError(
            f"pipeline: it has no {' and no '.join(missing)}. Text encoders read prompts while it "
            'is used; for halves that take turns, name the model as base_model, with offload="disk"'
        )
    check_pipeline(pipeline)
    check_weights(pipeline)
    is_named = "base_model" in config.model_fields_set
    name = config.base_model if is_named else pipeline.name_or_path or type(pipeline).__name__
    family = open_family(pipeline)
    transformer = family.transformer.config
    files = ModelFiles(
        name=name,
        folder=None,
        revision="loaded by the caller",
        known=list_known_models().get(name)
        or describe_unknown_model(name, transformer, spec, family.guidance),
        family=spec,
        guidance=family.guidance,
        vae_sample_size_px=int(family.pipeline.vae.config.get("sample_size", spec.default_size_px)),
        size_multiple_px=family.size_multiple_px,
        tokenizer_max_length=int(spec.tokenizers[0].find_in(pipeline).model_max_length),
    )
    dtype = str(pipeline.transformer.dtype).removeprefix("torch.")
    weights = describe_loaded(pipeline)
    return resolve_on(config, files, str(family.device), dtype, weights=weights)


def check_pipeline(pipeline: DiffusionPipeline) -> None:
    """Raise ModelUnavailableError where our sampling loop would not do what the pipeline does."""
    _check_scheduler(pipeline)
    spec = find_spec(pipeline)
    assert spec is not None  # whoever loads a pipeline has asked
    for each in spec.tokenizers:
        _check_tokenizer(pipeline, each)


def _check_scheduler(pipeline: DiffusionPipeline) -> None:
    scheduler = pipeline.scheduler
    plain = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    if not plain or scheduler.config.stochastic_sampling or scheduler.config.invert_sigmas:
        raise ModelUnavailableError(
            "coupled sampling takes plain Euler steps: expected a FlowMatchEulerDiscreteScheduler "
            "without stochastic_sampling and invert_sigmas; got "
            f"{type(scheduler).__name__} {dict(scheduler.config)}"
        )


_PROBES = ("A red kite in a meadow at noon.", "A blue car on a beach at night.")


def _check_tokenizer(pipeline: DiffusionPipeline, spec: TokenizerSpec) -> None:
    """Refuse a tokenizer that tells no prompts apart, or speaks of words that its encoder lacks.

    Where its files are missing, a tokenizer loads without a word, and all prompts are one to it.
    """
    name, tokenizer = spec.folder, spec.find_in(pipeline)
    num_known = getattr(pipeline, spec.encoder).get_input_embeddings().num_embeddings
    try:
        first, second = (tokenizer(text).input_ids for text in _PROBES)
    except Exception as exc:  # tokenizers raises nothing more specific
        raise ModelUnavailableError(
            f"base model {pipeline.name_or_path}: its {name} splits no text ({exc}): files of "
            f"{name}/ are another model's. Fetch the model again."
        ) from exc
    if first == second or max(*first, *second) >= num_known:
        raise ModelUnavailableError(
            f"base model {pipeline.name_or_path}: its {name} does not fit its text encoder: "
            f"it knows {len(tokenizer)} tokens, the encoder {num_known}, and it reads two "
            f"different prompts as {first[:8]} and {second[:8]}. Files of {name}/ are missing "
            "or are another model's: fetch the model again."
        )
