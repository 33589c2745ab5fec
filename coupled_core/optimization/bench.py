"""Builds what trials run on, from the settings of a search."""

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError
from coupled_core.evaluation.pairs import Evaluator
from coupled_core.evaluation.samples import build_samples, split_train_validation, take_groups
from coupled_core.generation.provenance import choose_device
from coupled_core.methods.ours import CoupledMethod
from coupled_core.methods.registry import load_methods
from coupled_core.optimization.settings import OptimizeSettings
from coupled_core.optimization.trial import Bench
from coupled_core.records import Sample
from coupled_core.scoring.pair_scorer import load_scorer


def load_bench(settings: OptimizeSettings) -> Bench:
    """Load the base model and the judges, and split the prompts.

    Raises:
        CoupledError: the prompts, the model or the settings are not usable.
    """
    run = settings.run
    train, validation = choose_samples(settings)
    # Whatever schedule the settings name: every trial brings its own.
    generation = run.generation.model_copy(update={"schedule": None, "coupling_mode": None})
    method = load_methods(["coupled"], generation)["coupled"]
    assert isinstance(method, CoupledMethod)
    scorer = load_scorer(run.scoring, str(choose_device(generation.device)))
    evaluator = Evaluator(scorer, run.filter, generation.batch_size)
    return Bench(method, evaluator, tuple(train), tuple(validation))


def choose_samples(settings: OptimizeSettings) -> tuple[list[Sample], list[Sample]]:
    """Return the samples of training and of validation.

    Raises:
        ConfigError: there are not enough groups on a side.
        PromptSetError: the prompt set is not usable.
    """
    run: RunConfig = settings.run
    train, validation = split_train_validation(build_samples(run.prompts.uri, run))
    if settings.num_groups is not None:
        wanted = (settings.num_groups + 1) // 2, settings.num_groups // 2
        try:
            train, validation = take_groups(train, wanted[0]), take_groups(validation, wanted[1])
        except ConfigError as error:
            raise ConfigError(
                f"{settings.num_groups} groups of {run.prompts.uri}, half of them for validation: "
                f"{error} (sides are fixed by a hash of the group's id); ask for fewer groups"
            ) from error
    if not train or not validation:
        raise ConfigError(
            f"{run.prompts.uri} has {len(train)} samples for training and {len(validation)} for "
            "validation; both need some: add groups"
        )
    return train, validation
