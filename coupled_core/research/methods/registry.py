"""Every method by name, on one loaded model: ours, and what other packages register."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from coupled_core.config import GenerationConfig, ScoringConfig
from coupled_core.errors import ConfigError
from coupled_core.plugins import find_plugins
from coupled_core.research.methods.method import Method

if TYPE_CHECKING:
    from coupled_core.research.methods.stock import StockModel

BuildMethod = Callable[["StockModel"], Method]
"""Makes a method on a loaded model; what an entry point of `coupled_images.methods` gives."""

_SHIPPED = {
    "coupled": "coupled:build_default",
    "coupled-log-bias": "coupled:build_log_bias",
    "coupled-key-scale": "coupled:build_key_scale",
    "coupled-region": "coupled:build_region_mode",
    "published-form": "coupled:build_published",
    "random-seed": "controls:build_random_seed",
    "prompt-switch": "controls:build_prompt_switch",
    "p2p": "prompt_to_prompt:build_exact",
    "p2p-efficient": "prompt_to_prompt:build_efficient",
    "rf-inversion": "rf_inversion:build",
    "stable-flow": "stable_flow:build",
    "flowedit": "flow_edit:build",
    "latent-pull": "controls:build_latent_pull",
    "cut-and-paste": "cut_and_paste:build",
}
"""Module and builder by name, as text: reading the names loads no model code."""
METHOD_NAMES: tuple[str, ...] = tuple(_SHIPPED)


def list_methods() -> tuple[str, ...]:
    """Return the names of all methods, those of other packages last.

    Raises:
        ConfigError: a package registers a name that is taken, or its method does not load.
    """
    registered = find_plugins("methods")
    if taken := sorted(registered.keys() & _SHIPPED.keys()):
        raise ConfigError(
            f"a package registers the methods {taken}, but these names are taken: give its entry "
            "points of coupled_images.methods other names"
        )
    return (*METHOD_NAMES, *registered)


def load_methods(
    names: Sequence[str], config: GenerationConfig, scoring: ScoringConfig | None = None
) -> dict[str, Method]:
    """Load one pipeline and return the methods on it, in the order of `names`.

    Args:
        names: of methods.
        config: the base model and how it is used.
        scoring: what finds entities, for methods that need their masks; None: the defaults.

    Raises:
        ConfigError: an unknown name; or settings that do not work here.
        ModelUnavailableError: the base model is missing, gated, or does not load.
        ScheduleError: the schedule of the settings is missing or is for another mode.
    """
    known = list_methods()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"unknown method {', '.join(unknown)}; expected some of {', '.join(known)}"
        )
    from coupled_core.generation.families.spec import FLUX_1
    from coupled_core.generation.pipeline import load_pipeline
    from coupled_core.generation.provenance import resolve
    from coupled_core.research.methods.stock import StockModel

    resolved = resolve(config)
    if resolved.files.family is not FLUX_1:
        raise ConfigError(
            f"the methods to compare with are written for {FLUX_1.name}; {config.base_model} is of "
            f"{resolved.files.family.name}"
        )
    pipeline = load_pipeline(resolved, config.offload)
    model = StockModel(pipeline, resolved.provenance, resolved.schedule, scoring)
    return {name: _find_builder(name)(model) for name in names}


def _find_builder(name: str) -> BuildMethod:
    if name not in _SHIPPED:
        registered: BuildMethod = find_plugins("methods")[name]
        return registered
    module, _, function = _SHIPPED[name].partition(":")
    builder: BuildMethod = getattr(
        import_module(f"coupled_core.research.methods.{module}"), function
    )
    return builder
