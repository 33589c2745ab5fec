"""Base models: which are known by name, where their files lie, and what their configuration says.

No weights are loaded here. Other packages register a model by an entry point of
`coupled_images.base_models` that gives a `KnownModel`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coupled_core.config import CouplingMode
from coupled_core.documents import DocumentError, parse_json, read_file
from coupled_core.errors import ConfigError, ModelUnavailableError
from coupled_core.miniature import miniature_folder
from coupled_core.model_folder import require_files
from coupled_core.plugins import find_plugins
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import SHIPPED_FOLDER, load_shipped_schedule


@dataclass(frozen=True)
class KnownModel:
    """What cannot be read from a model's files. None: read it there."""

    id: str
    """Hub id, or the name of a model that ships with a package."""
    license: str
    use_restrictions: str
    """What may not be done with the images, in a sentence or two; goes into every manifest."""
    schedule_name: str
    """Which shipped schedules are meant for it: NAME-MODE.json in `schedule_folder`."""
    coupling_mode: CouplingMode
    """The default: what was measured to be best on it, else the published form."""
    num_inference_steps: int
    guidance_scale: float
    """0 where the model has no guidance embedding."""
    max_sequence_length: int | None = None
    """T5 tokens."""
    size_px: int | None = None
    folder: Path | None = None
    """Where its files lie; None: on the hub."""
    schedule_folder: Path = SHIPPED_FOLDER
    num_parameters: Mapping[str, int] = field(default_factory=dict)
    """By part of the pipeline, of a model on the hub; empty: not known before it is fetched."""

    def load_schedule(self, mode: CouplingMode) -> Schedule:
        """Return the schedule that is meant for the model in a mode.

        Raises:
            ScheduleError: there is none.
        """
        return load_shipped_schedule(self.schedule_name, mode, self.schedule_folder)


_FLUX_PARAMETERS = MappingProxyType(
    {
        "transformer": 11_901_408_320,
        "text_encoder_2": 4_762_310_656,
        "text_encoder": 123_060_480,
        "vae": 83_819_683,
    }
)
_BLACK_FOREST_DEV = KnownModel(
    id="black-forest-labs/FLUX.1-dev",
    license="FLUX.1 [dev] Non-Commercial License",
    use_restrictions=(
        "The model itself is licensed for non-commercial use only. Outputs may be used "
        "commercially, but not to train, fine-tune or distil a model that competes with FLUX.1 "
        "[dev] or FLUX.1 Kontext [dev]. Whoever shows outputs must filter unlawful content or "
        "review it, and disclose that they are AI-generated where the law asks for it."
    ),
    schedule_name="flux-dev",
    coupling_mode="log_bias",
    num_inference_steps=28,
    guidance_scale=3.5,
    max_sequence_length=512,
    size_px=1024,
    num_parameters=_FLUX_PARAMETERS,
)
_BLACK_FOREST_SCHNELL = KnownModel(
    id="black-forest-labs/FLUX.1-schnell",
    license="Apache-2.0",
    use_restrictions=(
        "None from the model's licence. Its model card rules out unlawful use, harm to minors, "
        "harassment, non-consensual nudity and disinformation."
    ),
    schedule_name="flux-schnell",
    coupling_mode="log_bias",
    num_inference_steps=4,
    guidance_scale=0.0,
    max_sequence_length=256,
    size_px=1024,
    num_parameters=_FLUX_PARAMETERS,
)
_MINIATURE = KnownModel(
    id="miniature",
    license="Apache-2.0",
    use_restrictions="None: drawn by this project's own model, trained on its own renderings.",
    schedule_name="miniature",
    coupling_mode="region",
    num_inference_steps=20,
    guidance_scale=0.0,
    folder=miniature_folder("flux"),
)
KNOWN_MODELS: Mapping[str, KnownModel] = {
    model.id: model for model in (_BLACK_FOREST_DEV, _BLACK_FOREST_SCHNELL, _MINIATURE)
}


def list_known_models() -> dict[str, KnownModel]:
    """Return the models that are known by name, those of other packages last, by id.

    Raises:
        ConfigError: a package registers a model whose id is taken, or its record does not load.
    """
    models = dict(KNOWN_MODELS)
    for name, model in find_plugins("base_models").items():
        if model.id in models:
            raise ConfigError(
                f"the entry point {name} of coupled_images.base_models registers the base model "
                f"{model.id!r}, but there is one of that id: give it another"
            )
        models[model.id] = model
    return models


def describe_unknown_model(base_model: str, transformer_config: Mapping[str, Any]) -> KnownModel:
    """Return what to assume of a model that is not in the list, from the shape of its transformer.

    FLUX.1's own geometry gets the defaults of dev (with guidance embedding) or schnell (without);
    anything else those of the miniature. Its licence is not ours to guess.
    """
    guided = bool(transformer_config.get("guidance_embeds"))
    full_size = transformer_config.get("num_layers") == 19
    alike = (_BLACK_FOREST_DEV if guided else _BLACK_FOREST_SCHNELL) if full_size else _MINIATURE
    return replace(
        alike,
        id=base_model,
        license="unknown",
        use_restrictions=(
            "Not known to this program: see the licence of the base model. If it derives from "
            "FLUX.1 [dev], that model's non-commercial licence and its ban on training competing "
            "models apply."
        ),
        guidance_scale=3.5 if guided else 0.0,
        size_px=None,
        folder=None,
    )


_WHOLE_FILE_BYTES = 64 * 2**20
_SAMPLE_BYTES = 2**20
_NUM_SAMPLES = 64
_HASHED_SUFFIXES = {".json", ".safetensors", ".bin", ".txt", ".model"}


class TransformerShape(BaseModel):
    """What a transformer's configuration says of its size; left out is what FLUX.1 has."""

    model_config = ConfigDict(strict=True, frozen=True)

    num_layers: int = Field(default=19, ge=1, le=2**16)
    num_single_layers: int = Field(default=38, ge=0, le=2**16)
    num_attention_heads: int = Field(default=24, ge=1, le=2**16)
    attention_head_dim: int = Field(default=128, ge=1, le=2**16)


@dataclass(frozen=True)
class ModelFiles:
    """A FLUX pipeline on disk or on the hub, and what its configuration says."""

    name: str
    """Hub id, "miniature", or the folder as it was given."""
    folder: Path | None
    """None for a hub id."""
    revision: str
    """Commit of a hub id; SHA-256 over a folder's files."""
    known: KnownModel
    guidance_embeds: bool
    vae_sample_size_px: int
    size_multiple_px: int
    """Width and height must be multiples of this: autoencoder's scale times 2 x 2 packing."""
    tokenizer_max_length: int
    """T5 tokens."""
    transformer: TransformerShape = field(default_factory=TransformerShape)
    """Its geometry."""

    @property
    def size_px(self) -> int:
        """Side of a default image."""
        return self.known.size_px or self.vae_sample_size_px

    @property
    def max_sequence_length(self) -> int:
        """T5 tokens of each text stream by default; FLUX knows at most 512."""
        return self.known.max_sequence_length or min(self.tokenizer_max_length, 512)


class _Sizes(BaseModel):
    """What is read from the configurations of autoencoder and tokenizers."""

    model_config = ConfigDict(strict=True, protected_namespaces=())

    sample_size: int = Field(ge=1, le=2**16)
    block_out_channels: list[int] = Field(min_length=1, max_length=16)
    clip_max_length: float = Field(ge=1)
    t5_max_length: float = Field(ge=1)


def find_model_files(base_model: str, revision: str | None) -> ModelFiles:
    """Locate a base model and read its configuration.

    Args:
        base_model: "miniature", a folder in the format of `FluxPipeline.save_pretrained`, or a hub
        id.
        revision: commit, tag or branch of a hub id; None is its newest.

    Raises:
        ModelUnavailableError: it is not there, is gated, or is not a FLUX pipeline; says what to
        do.
    """
    known = list_known_models().get(base_model)
    folder = find_folder(base_model)
    if folder is None:
        configs, commit = _read_hub_configs(base_model, revision)
    else:
        configs, commit = _read_folder_configs(folder), hash_folder(folder)
        _require_tokenizers(folder)
    pipeline_class = configs["model_index.json"].get("_class_name")
    if pipeline_class != "FluxPipeline":
        raise ModelUnavailableError(
            f"base model {base_model}: expected a FluxPipeline, got a {pipeline_class}. "
            "Coupling is written for FLUX.1: name FLUX.1-dev, FLUX.1-schnell or one of their kind."
        )
    transformer, vae = configs["transformer/config.json"], configs["vae/config.json"]
    length = "model_max_length"
    try:
        sizes = _Sizes.model_validate(
            {
                **vae,
                # The pipeline reads CLIP's: without it a prompt would be padded without an end.
                "clip_max_length": configs["tokenizer/tokenizer_config.json"].get(length),
                "t5_max_length": configs["tokenizer_2/tokenizer_config.json"].get(length),
            }
        )
        shape = TransformerShape.model_validate(transformer)
    except ValidationError as exc:
        problem = exc.errors()[0]
        raise ModelUnavailableError(
            f"base model {base_model}: its configuration says {problem['loc'][0]} wrongly: "
            f"{problem['msg']}. Expected what FluxPipeline.save_pretrained writes: fetch it again."
        ) from exc
    return ModelFiles(
        name=base_model,
        folder=folder,
        revision=commit,
        known=known or describe_unknown_model(base_model, transformer),
        guidance_embeds=bool(transformer.get("guidance_embeds")),
        vae_sample_size_px=sizes.sample_size,
        size_multiple_px=2 ** len(sizes.block_out_channels),
        tokenizer_max_length=int(sizes.t5_max_length),
        transformer=shape,
    )


_PARTS = ("text_encoder", "text_encoder_2", "transformer", "vae")


def require_weights(base_model: str) -> None:
    """Refuse a folder that lacks a file of the pipeline, or holds a damaged one.

    Raises:
        ModelUnavailableError: naming the file.
    """
    folder = find_folder(base_model)
    if folder is None:
        return  # what the hub has is whole
    require_files(
        folder, ("scheduler/scheduler_config.json", *(f"{part}/config.json" for part in _PARTS))
    )
    for part in _PARTS:
        require_files(folder, (f"{part}/*{_weights_of(folder / part)}",))
        for index in (folder / part).glob("*.safetensors.index.json"):
            shards = set(parse_json(read_file(index)).get("weight_map", {}).values())
            require_files(folder / part, sorted(shards))


def list_weights(folder: Path) -> list[Path]:
    """Return the safetensors files of a pipeline's parts."""
    return sorted(path for part in _PARTS for path in (folder / part).glob("*.safetensors"))


def _weights_of(part: Path) -> str:
    """Return the ending of the files that hold a part's weights: diffusers takes either."""
    return ".bin" if any(part.glob("*.bin")) else ".safetensors"


def hash_folder(folder: Path) -> str:
    """Return a SHA-256 over the model files of a folder, their names and sizes.

    Files above 64 MiB (FLUX.1-dev has 34 GB of them) go in by 64 evenly spaced samples of 1 MiB:
    enough to tell trained weights apart, in a second and not in a minute.
    """
    digest = hashlib.sha256()
    for path in sorted(
        p for p in folder.rglob("*") if p.suffix in _HASHED_SUFFIXES and p.is_file()
    ):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_FILE_BYTES:
                digest.update(file.read())
                continue
            for i in range(_NUM_SAMPLES):
                file.seek((size - _SAMPLE_BYTES) * i // (_NUM_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


_CONFIG_FILES = (
    "model_index.json",
    "transformer/config.json",
    "vae/config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer_config.json",
)
_Configs = dict[str, dict[str, Any]]


def find_folder(base_model: str) -> Path | None:
    """Return where the files of a base model lie; None: on the hub.

    Raises:
        ModelUnavailableError: it is neither a folder nor the id of a hub model.
    """
    known = list_known_models().get(base_model)
    if known is not None and known.folder is not None:
        if not (known.folder / "model_index.json").is_file():
            raise ModelUnavailableError(
                f"the weights of {base_model} are missing: expected a pipeline in {known.folder}. "
                "Install the package again; those of the miniature can be trained with "
                "coupled_core.research.training."
            )
        return known.folder
    folder = Path(base_model).expanduser()
    if folder.is_dir():
        return folder
    if base_model.count("/") != 1 or base_model.startswith((".", "/", "~")):
        raise ModelUnavailableError(
            f"base model {base_model!r}: there is no such folder, and it is not a hub id "
            "(OWNER/NAME). Name an existing folder, an id such as black-forest-labs/FLUX.1-dev, "
            'or "miniature".'
        )
    return None


def _read_folder_configs(folder: Path) -> _Configs:
    try:
        return {name: _read_config(folder / name) for name in _CONFIG_FILES}
    except OSError as exc:
        raise ModelUnavailableError(
            f"{folder} is not a FLUX pipeline in the diffusers format: {exc}. "
            "Expected what FluxPipeline.save_pretrained writes, or a download of a hub model."
        ) from exc


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = parse_json(read_file(path))
        if not isinstance(config, dict):
            raise DocumentError(f"expected an object, got a {type(config).__name__}")
    except ValueError as error:
        raise ModelUnavailableError(
            f"{path} is not the configuration of a model: {error}. Fetch the model again."
        ) from error
    return config


_TOKENIZER_FILES = {
    "tokenizer": ("tokenizer.json", "vocab.json and merges.txt"),
    "tokenizer_2": ("tokenizer.json", "spiece.model"),
}
"""Either set of files will do. Without them a tokenizer still loads, and knows no words."""


def _require_tokenizers(folder: Path) -> None:
    for name, choices in _TOKENIZER_FILES.items():
        if not any(
            all((folder / name / file).is_file() for file in choice.split(" and "))
            for choice in choices
        ):
            raise ModelUnavailableError(
                f"{folder / name} holds no vocabulary: expected {' or '.join(choices)}. Copy what "
                "is missing from the model that the folder was made of."
            )


def _read_hub_configs(model_id: str, revision: str | None) -> tuple[_Configs, str]:
    from huggingface_hub import errors, hf_hub_download

    where = f"base model {model_id}" + (f" at revision {revision}" if revision else "")
    try:
        # The first answer fixes the commit; the others, and later the weights, come from that
        # commit.
        index = Path(hf_hub_download(model_id, "model_index.json", revision=revision))
        commit = index.parent.name
        configs = {
            name: _read_config(Path(hf_hub_download(model_id, name, revision=commit)))
            for name in _CONFIG_FILES
        }
    except errors.GatedRepoError as exc:
        raise ModelUnavailableError(
            f"{where} is gated. Accept its licence at huggingface.co/{model_id}, then log in "
            "with `hf auth login` or set HF_TOKEN; or pass a folder that holds the model."
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise ModelUnavailableError(
            f"{where} does not exist on the hub or is not visible to you. Check the id; for a "
            "private or gated model log in with `hf auth login` or set HF_TOKEN; or pass a folder "
            "that holds the model."
        ) from exc
    except errors.RevisionNotFoundError as exc:
        raise ModelUnavailableError(
            f"{where}: there is no such revision. Check the commit or tag."
        ) from exc
    except (errors.EntryNotFoundError, errors.HFValidationError, OSError) as exc:
        raise ModelUnavailableError(
            f"{where} is not in the local cache and cannot be fetched: {str(exc).splitlines()[0]} "
            "Check the network (and that HF_HUB_OFFLINE is not set), or pass a folder that holds "
            "the model. A gated model also wants its licence accepted at "
            f"huggingface.co/{model_id}, and `hf auth login` or HF_TOKEN."
        ) from exc
    return configs, commit
