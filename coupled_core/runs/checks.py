"""Whether this machine has what a build with certain settings needs; nothing is built or spent.

A check returns what it found, or raises the error that a build would end with; its text says what
to type.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

from coupled_core.config import RunConfig
from coupled_core.dataset.commit.publish import ensure_conditional_writes
from coupled_core.errors import ConfigError, CoupledError, ModelUnavailableError, StorageError
from coupled_core.generation.budget import find_memory
from coupled_core.generation.footprint import find_footprint, hub_bytes
from coupled_core.generation.licences import (
    OTHER_WEIGHTS,
    describe_training,
    restrict_training,
)
from coupled_core.generation.model_files import (
    ModelFiles,
    find_model_files,
    find_transformer_file,
    list_known_models,
    require_weights,
)
from coupled_core.generation.provenance import (
    choose_device,
    name_device,
    resolve_generation,
)
from coupled_core.llm.client import check_environment
from coupled_core.report.numbers import format_bytes
from coupled_core.runs.needs import find_needs
from coupled_core.scoring.model_files import (
    find_missing_clip,
    require_dtype,
    require_fitting_judges,
    require_scorers,
)
from coupled_core.storage.open_store import open_store

PACKAGE = "coupled-images"
_INSTALL = "pip install -c infra/constraints.txt ."
_SAM_ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything/"
_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})
_SPARE_BYTES = 10**9
"""What a disk must have left beside all that is fetched."""


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    text: str
    error: CoupledError | None = None
    """None: it is as a build needs it."""


def run_check(name: str, look: Callable[[], str]) -> Check:
    """Return what a check found, good or bad."""
    try:
        return Check(name, look())
    except CoupledError as error:
        return Check(name, str(error), error)


def run_checks(config: RunConfig) -> Iterator[Check]:
    """Yield the checks of all that a build with these settings needs, each as it is done."""
    machine = _Machine(config)
    checks: Mapping[str, Callable[[], str]] = {
        "python": _check_python,
        "packages": _check_packages,
        "base model": machine.check_base_model,
        "licence": machine.check_licence,
        "device": machine.check_device,
        "scorers": machine.check_scorers,
        "output": machine.check_output,
        "disk": machine.check_disk,
        "language model": machine.check_language_model,
    }
    for name, look in checks.items():
        yield run_check(name, look)


def _check_python() -> str:
    from packaging.specifiers import SpecifierSet

    wanted = metadata.metadata(PACKAGE)["Requires-Python"]
    found = platform.python_version()
    if found not in SpecifierSet(wanted, prereleases=True):
        raise ConfigError(
            f"Python {found}: expected {wanted}; type: python3.11 -m venv .venv && "
            f". .venv/bin/activate && {_INSTALL}"
        )
    return f"{platform.python_implementation()} {found} in {sys.prefix}"


def _check_packages() -> str:
    from packaging.requirements import Requirement

    wanted = [Requirement(each) for each in metadata.requires(PACKAGE) or ()]
    # Without the extras: a build needs none of them.
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = []
    for each in needed:
        try:
            found = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(found, prereleases=True):
            wrong.append(f"{each.name} {found} is not {each.specifier}")
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}; type: {_INSTALL}")
    return f"{len(needed)} as required{_compare_with_constraints()}"


def _compare_with_constraints() -> str:
    """Say what differs from the versions that everything was seen to work with."""
    # Only a checkout has it; an installed package compares with nothing.
    path = Path(__file__).parents[2] / "infra" / "constraints.txt"
    if not path.is_file():
        return ""
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE))
    others = []
    for each in metadata.distributions():
        # The one spelling of a package's name, after PEP 503.
        name = re.sub(r"[-_.]+", "-", each.name).lower()
        expected = pinned.get(name)
        if expected and name not in _INSTALLERS and each.version != expected:
            others.append(f"{each.name} {each.version} (tried: {expected})")
    shown = ", ".join(sorted(others)[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"; other versions than were tried: {shown}{more}" if others else ", all as tried"


class _Machine:
    """Looks at models, stores and disks; what several checks need is found once."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config

    @cached_property
    def _found(self) -> ModelFiles | ModelUnavailableError:
        """The base model, or why it is not to be had; asked for once, as it may take half a minute.

        What is known of it by name is used in the other checks: its failure is told in its own.
        """
        try:
            generation = self._config.generation
            return find_model_files(generation.base_model, generation.revision)
        except ModelUnavailableError as error:
            return error

    @property
    def _missing_bytes(self) -> int:
        if isinstance(self._found, ModelFiles):
            return find_footprint(self._found, self._config.generation).missing_bytes
        known = list_known_models().get(self._config.generation.base_model)
        return hub_bytes(known) if known else 0

    def check_device(self) -> str:
        """Compare the weights with the memory of the device, where both are known."""
        device = choose_device(self._config.generation.device)
        text = f"{name_device(device)} with {format_bytes(find_memory(device))}"
        if not isinstance(self._found, ModelFiles):
            return text
        resolved = resolve_generation(self._config.generation)
        use = find_needs(self._config, resolved, self._found).memory
        text += f", {resolved.dtype}"
        if use is None:
            return text
        if use.refusal:
            raise ConfigError(f"{text}: {use.refusal}")
        return f"{text}; a build takes {format_bytes(use.peak)} (computed)"

    def check_base_model(self) -> str:
        """Look for weights in the folder or in the cache of the hub."""
        files = self._found
        if not isinstance(files, ModelFiles):
            raise files
        is_whole = find_transformer_file(self._config.generation)[0] is None
        require_weights(files.name, has_own_transformer=is_whole)
        footprint = find_footprint(files, self._config.generation)
        if footprint.missing_bytes:
            but = "" if is_whole else " --exclude 'transformer/*.safetensors'"
            raise ModelUnavailableError(
                f"{files.name}: {format_bytes(footprint.missing_bytes)} are still to be fetched; "
                f"type: hf download {files.name} --include '*/*'{but}, or let the build fetch them"
            )
        return f"{files.name}, revision {files.revision[:12]}"

    def check_licence(self) -> str:
        """Name the licence; a gated model whose files are readable was accepted."""
        name = self._config.generation.base_model
        found = self._found.known if isinstance(self._found, ModelFiles) else None
        known = found or list_known_models().get(name)
        if known is None:
            return "not known"
        generation = self._config.generation
        has_others = bool(generation.lora) or find_transformer_file(generation)[0] is not None
        training = describe_training(restrict_training(known.training, has_others=has_others))
        others = f" {OTHER_WEIGHTS}" if has_others else ""
        return f"{known.license}. {known.use_restrictions}{others} {training}"

    def check_scorers(self) -> str:
        """Look for Segment Anything and CLIP."""
        scoring = self._config.scoring
        kind, _, path = scoring.sam_model.partition(":")
        try:
            require_fitting_judges(self._config)
            require_scorers(scoring)
            if scoring.dtype != "float32":  # a device that is missing is told elsewhere
                require_dtype(scoring, choose_device(self._config.generation.device))
        except ModelUnavailableError as error:
            if path and not Path(path).exists() and Path(path).name.startswith(f"sam_{kind}_"):
                raise ModelUnavailableError(
                    f"no Segment Anything at {path}; type: curl -Lo {path} "
                    f"{_SAM_ADDRESS}{Path(path).name}"
                ) from error
            raise
        if missing := find_missing_clip(scoring.clip_model):
            raise ModelUnavailableError(
                f"CLIP {scoring.clip_model} is still to be fetched; type: hf download {missing}, "
                "or let the build fetch it"
            )
        return f"Segment Anything {scoring.sam_model}, CLIP {scoring.clip_model}"

    def check_output(self) -> str:
        """Write and read small objects in a bucket; a folder is only looked at."""
        output = self._config.output
        if "://" not in output.uri:
            place = _nearest_folder(Path(output.uri))
            if not os.access(place, os.W_OK):
                raise StorageError(f"{place} cannot be written: name another --output")
            return f"{output.uri}, a folder"
        # The same test as a build's, and what it proves holds for the builds of this process.
        ensure_conditional_writes(open_store(output.uri), single_writer=output.single_writer)
        alone = "you promise that nothing else writes there"
        return f"{output.uri}: {alone if output.single_writer else 'honours conditional writes'}"

    def check_disk(self) -> str:
        """Compare what is free with what is to be fetched."""
        from huggingface_hub.constants import HF_HUB_CACHE

        needed = self._missing_bytes
        cache = _nearest_folder(Path(HF_HUB_CACHE))
        folders = {cache: needed}
        if "://" not in self._config.output.uri:
            # Where cache and output are one folder, what is to be fetched counts once.
            folders.setdefault(_nearest_folder(Path(self._config.output.uri)), 0)
        for folder, size in folders.items():
            free = shutil.disk_usage(folder).free
            if free < size + _SPARE_BYTES:
                raise StorageError(
                    f"{folder} has {format_bytes(free)} free, expected "
                    f"{format_bytes(size + _SPARE_BYTES)}: free space there, or set HF_HOME and "
                    "--output to other places"
                )
        shown = [f"{format_bytes(shutil.disk_usage(each).free)} free at {each}" for each in folders]
        return ", ".join(shown)

    def check_language_model(self) -> str:
        """Look at the key, where one is needed; it is not sent anywhere."""
        if self._config.split.splitter != "anthropic":
            return "none is asked (--splitter anthropic would)"
        check_environment()
        return f"a key for {self._config.split.model} is set; whether it is valid shows only in use"


def _nearest_folder(path: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    whole = path.expanduser().absolute()
    return next(each for each in (whole, *whole.parents) if each.is_dir())
