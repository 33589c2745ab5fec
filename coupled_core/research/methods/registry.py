"""Every method by name, on one loaded model."""

from collections.abc import Callable, Sequence
from functools import partial

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError
from coupled_core.research.methods.method import Method

METHOD_NAMES: tuple[str, ...] = (
    "coupled",
    "coupled-log-bias",
    "coupled-key-scale",
    "coupled-region",
    "random-seed",
    "prompt-switch",
    "p2p",
    "p2p-efficient",
    "rf-inversion",
    "stable-flow",
    "flowedit",
    "latent-pull",
)


def load_methods(names: Sequence[str], config: GenerationConfig) -> dict[str, Method]:
    """Load one pipeline and return the methods on it, in the order of `names`.

    Raises:
        ConfigError: an unknown name; or settings that do not work here.
        ModelUnavailableError: the base model is missing, gated, or does not load.
        ScheduleError: the schedule of the settings is missing or is for another mode.
    """
    unknown = [name for name in names if name not in METHOD_NAMES]
    if unknown:
        raise ConfigError(
            f"unknown method {', '.join(unknown)}; expected some of {', '.join(METHOD_NAMES)}"
        )
    builders = _prepare_builders(config)
    return {name: builders[name]() for name in names}


def _prepare_builders(config: GenerationConfig) -> dict[str, Callable[[], Method]]:
    """Load the model; imports wait until here, so that reading the names costs nothing."""
    from coupled_core.generation.base_model import load_pipeline
    from coupled_core.generation.generator import GroupGenerator
    from coupled_core.generation.provenance import resolve
    from coupled_core.research.methods import (
        flow_edit,
        latent_pull,
        ours,
        prompt_switch,
        prompt_to_prompt,
        random_seed,
        rf_inversion,
        stable_flow,
    )
    from coupled_core.research.methods.stock_model import StockModel
    from coupled_core.research.methods.vitality import find_vital_layers

    resolved = resolve(config)
    pipeline = load_pipeline(resolved, config.offload)
    model = StockModel(pipeline, resolved.provenance)
    generator = GroupGenerator(pipeline, resolved.schedule, resolved.provenance)
    coupled = partial(ours.build_mode, generator, model.transformer)
    return {
        "coupled": lambda: ours.build_default(generator, model.transformer),
        "coupled-log-bias": lambda: coupled("log_bias"),
        "coupled-key-scale": lambda: coupled("key_scale"),
        "coupled-region": lambda: coupled("region"),
        "random-seed": lambda: random_seed.build(model),
        "prompt-switch": lambda: prompt_switch.build(model),
        "p2p": lambda: prompt_to_prompt.build(model, "exact"),
        "p2p-efficient": lambda: prompt_to_prompt.build(model, "efficient"),
        "rf-inversion": lambda: rf_inversion.build(model),
        "stable-flow": lambda: stable_flow.build(model, find_vital_layers(model)),
        "flowedit": lambda: flow_edit.build(model),
        "latent-pull": lambda: latent_pull.build(model),
    }
