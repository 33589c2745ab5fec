"""Base models: where their files lie, and what their configuration says; no weights are loaded."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from coupled_core.config import GenerationConfig
from coupled_core.documents import DocumentError, parse_json, read_file
from coupled_core.errors import ModelUnavailableError
from coupled_core.generation.families.spec import (
    SPECS,
    FamilySpec,
    Guidance,
    describe_supported,
)
from coupled_core.generation.hub_files import fetch_file
from coupled_core.generation.known_models import KNOWN_MODELS as KNOWN_MODELS
from coupled_core.generation.known_models import KnownModel as KnownModel
from coupled_core.generation.known_models import describe_unknown_model
from coupled_core.generation.known_models import list_known_models as list_known_models
from coupled_core.generation.licences import LICENCES, find_origin
from coupled_core.models.files import require_files

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
    """A pipeline on disk or on the hub, and what its configuration says."""

    name: str
    """Hub id, "miniature", or the folder as it was given."""
    folder: Path | None
    """None for a hub id."""
    revision: str
    """Commit of a hub id; SHA-256 over a folder's files."""
    known: KnownModel
    family: FamilySpec
    guidance: Guidance
    vae_sample_size_px: int
    size_multiple_px: int
    """Width and height must be multiples of this: autoencoder's scale times 2 x 2 packing."""
    tokenizer_max_length: int
    """Tokens of the text that directs the images."""
    transformer: TransformerShape = field(default_factory=TransformerShape)
    """Its geometry."""
    decoder_channels: int = 256
    """Of the autoencoder, before its last block."""
    transformer_class: str = "FluxTransformer2DModel"
    """Of `diffusers`."""
    quantization: Mapping[str, Any] = field(default_factory=dict)
    """How the transformer's files are quantised; empty: they are not."""

    @property
    def size_px(self) -> int:
        """Side of a default image."""
        return self.known.size_px or self.vae_sample_size_px

    @property
    def max_sequence_length(self) -> int:
        """Tokens of each text stream by default."""
        most = min(self.tokenizer_max_length, self.family.max_sequence_length)
        return min(self.known.max_sequence_length or most, most)


class _Sizes(BaseModel):
    """What is read from the configurations of autoencoder and tokenizers."""

    model_config = ConfigDict(strict=True, protected_namespaces=())

    sample_size: int = Field(ge=1, le=2**16)
    levels: list[int] = Field(
        min_length=1,
        max_length=16,
        validation_alias=AliasChoices(*{each.vae_levels for each in SPECS.values()}),
    )
    model_max_length: list[Annotated[float, Field(ge=1)]]
    """Of each tokenizer: without one a prompt would be padded without an end."""


def find_model_files(base_model: str, revision: str | None) -> ModelFiles:
    """Locate a base model and read its configuration.

    Args:
        base_model: "miniature", a folder in the format of `save_pretrained`, or a hub id.
        revision: commit, tag or branch of a hub id; None is its newest.

    Raises:
        ModelUnavailableError: it is not there, is gated, or is of no family that is known; says
        what to do.
    """
    folder = find_folder(base_model)
    source = _Source(base_model, folder, revision)
    index = source.read(_INDEX)
    family = _family_of(base_model, index)
    configs = {name: source.read(name) for name in family.config_files}
    if folder is not None:
        _require_tokenizers(folder, family)
    transformer, vae, *tokenizers = configs.values()
    try:
        lengths = [each.get("model_max_length") for each in tokenizers]
        sizes = _Sizes.model_validate(
            {
                "sample_size": vae.get("sample_size", family.default_size_px),
                family.vae_levels: vae.get(family.vae_levels),
                "model_max_length": lengths,
            }
        )
        no_single = {} if family.has_single_blocks else {"num_single_layers": 0}
        shape = TransformerShape.model_validate({**no_single, **transformer})
    except ValidationError as exc:
        problem = exc.errors()[0]
        raise ModelUnavailableError(
            f"base model {base_model}: its configuration says {problem['loc'][0]} wrongly: "
            f"{problem['msg']}. Expected what {family.pipeline_class}.save_pretrained writes: "
            "fetch it again."
        ) from exc
    guidance = family.find_guidance(index, transformer)
    known = list_known_models().get(base_model)
    origin = None if known else find_origin(folder, index, transformer)
    return ModelFiles(
        name=base_model,
        folder=folder,
        revision=source.commit if folder is None else hash_folder(folder),
        known=known or describe_unknown_model(base_model, transformer, family, guidance, origin),
        family=family,
        guidance=guidance,
        vae_sample_size_px=sizes.sample_size,
        # Each level of the autoencoder but the last halves the image, and packing halves it once
        # more.
        size_multiple_px=2 ** len(sizes.levels),
        tokenizer_max_length=int(sizes.model_max_length[0]),
        transformer=shape,
        # Levels are channels, or multiples of the base's.
        decoder_channels=sizes.levels[:2][-1] * int(vae.get("base_dim", 1)),
        transformer_class=_class_of(index),
        quantization=_quantization_of(transformer),
    )


def _class_of(index: Mapping[str, Any]) -> str:
    named = index.get("transformer")
    return str(named[-1]) if isinstance(named, list) and named else ""


def _quantization_of(transformer: Mapping[str, Any]) -> Mapping[str, Any]:
    found = transformer.get("quantization_config")
    return found if isinstance(found, dict) else {}


def find_spec_of(base_model: str, revision: str | None) -> FamilySpec:
    """Return the family of a base model.

    Raises:
        ModelUnavailableError: as `find_model_files` does.
    """
    source = _Source(base_model, find_folder(base_model), revision)
    return _family_of(base_model, source.read(_INDEX))


def _family_of(base_model: str, index: Mapping[str, Any]) -> FamilySpec:
    pipeline_class = str(index.get("_class_name"))
    if pipeline_class not in SPECS:
        raise _refuse_class(f"base model {base_model} is a {pipeline_class}, which")
    return SPECS[pipeline_class]


def _refuse_class(what: str) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"{what} cannot be coupled yet: expected {describe_supported()}. Name a model of one of "
        "these, such as FLUX.1-schnell or FLUX.2-klein-4B."
    )


def is_bare(files: ModelFiles) -> bool:
    """Say whether a folder holds configurations alone, which is enough to plan by."""
    folder = files.folder
    return folder is not None and not any(
        any((folder / part).glob(f"*.{ending}"))
        for part in files.family.parts
        for ending in ("safetensors", "bin", "gguf")
    )


def find_transformer_file(config: GenerationConfig) -> tuple[Path | None, bool]:
    """Return the file that takes the place of the base model's transformer, and if it is GGUF."""
    gguf = config.quantize.partition(":")[2]
    name = gguf or config.transformer
    return None if name is None else Path(name).expanduser(), bool(gguf)


def require_weights(base_model: str, *, has_own_transformer: bool = True) -> None:
    """Refuse a folder that lacks a file of the pipeline, or holds a damaged one.

    Args:
        base_model: As `find_model_files` takes it.
        has_own_transformer: Whether the transformer's weights are to be read from there, too.

    Raises:
        ModelUnavailableError: naming the file.
    """
    folder = find_folder(base_model)
    if folder is None:
        return  # what the hub has is whole
    family = find_spec_of(base_model, None)
    configs = (f"{part}/config.json" for part in family.parts)
    require_files(folder, ("scheduler/scheduler_config.json", *configs))
    for part in family.list_parts(has_own_transformer=has_own_transformer):
        require_files(folder, (f"{part}/*{_weights_of(folder / part)}",))
        for index in (folder / part).glob("*.safetensors.index.json"):
            shards = set(parse_json(read_file(index)).get("weight_map", {}).values())
            require_files(folder / part, sorted(shards))


def list_weights(folder: Path, parts: Sequence[str]) -> list[Path]:
    """Return the safetensors files of a pipeline's parts."""
    return sorted(path for part in parts for path in (folder / part).glob("*.safetensors"))


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
        # Names and sizes too, with a separator that no name holds: else moving bytes from one file
        # into the next would not show.
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        _add_content(digest, path)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return a SHA-256 over a file, large ones by samples as in `hash_folder`."""
    digest = hashlib.sha256(f"{path.stat().st_size}\0".encode())
    _add_content(digest, path)
    return digest.hexdigest()


def _add_content(digest: "hashlib._Hash", path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE_FILE_BYTES:
            digest.update(file.read())
            return
        for i in range(_NUM_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * i // (_NUM_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))


_INDEX = "model_index.json"


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
    if known is None and base_model in LICENCES:  # said at once, and not once it is fetched
        raise _refuse_class(f"base model {base_model} is of a class that")
    return None


class _Source:
    """Where the configuration files of a base model are read from."""

    def __init__(self, base_model: str, folder: Path | None, revision: str | None) -> None:
        self._name, self._folder, self._revision = base_model, folder, revision
        self.commit = ""
        """Of a hub id, once a file was read."""

    def read(self, file: str) -> dict[str, Any]:
        """Return a configuration file as a dictionary."""
        if self._folder is None:
            path = fetch_file(self._name, file, self.commit or self._revision, self._revision)
            # The first answer fixes the commit; the others, and later the weights, come from that
            # commit.
            self.commit = self.commit or path.parent.name
            return _read_config(path)
        try:
            return _read_config(self._folder / file)
        except OSError as exc:
            raise ModelUnavailableError(
                f"{self._folder} is not a pipeline in the diffusers format: {exc}. Expected what "
                "save_pretrained of such a pipeline writes, or a download of a hub model: "
                f"{describe_supported()}."
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


def _require_tokenizers(folder: Path, family: FamilySpec) -> None:
    for tokenizer in family.tokenizers:
        place = folder / tokenizer.folder
        if not any(
            all((place / file).is_file() for file in files) for files in tokenizer.vocabularies
        ):
            wanted = " or ".join(" and ".join(files) for files in tokenizer.vocabularies)
            raise ModelUnavailableError(
                f"{place} holds no vocabulary: expected {wanted}. Copy what is missing from the "
                "model that the folder was made of."
            )
