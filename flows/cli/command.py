"""Makes commands of functions, so that all of them share one grammar.

A command is a function that is given a `Terminal` first, which brings --json, --quiet, --verbose
and --debug. Its other parameters say what it needs: an `ObjectStore` brings --dataset, accepted as
the first argument, too; a pydantic model brings an option for each of its fields; anything else is
declared as typer does it. The function's docstring is its help.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import BaseModel
from typer.models import ArgumentInfo

from coupled_core.config import OutputConfig, RunConfig
from coupled_core.errors import ConfigError
from coupled_core.runs.profiles import Profile
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from coupled_core.suggestions import suggest
from flows.cli.man_page import ManPageCommand
from flows.cli.setting import Offer, Setting, list_settings
from flows.cli.settings import read_settings
from flows.cli.terminal import EXIT_CODES, Terminal, reported_errors


def option(text: str, *names: str, **look: Any) -> Any:
    """Declare an option: its help, its names where they are not the parameter's."""
    return typer.Option(*names, help=text, **look)


def argument(name: str, text: str) -> Any:
    """Declare an argument: what stands for it in the usage line, its help."""
    return typer.Argument(metavar=name, help=text)


SnapshotName = Annotated[
    str, option("Which state: current, parent, previous, or the beginning of an id.")
]
Writing = Annotated[OutputConfig, Offer(section="output", only=("output.single_writer",))]
"""What a command that changes a dataset has to know about its place."""
SNAPSHOTS = (
    "[bold]Snapshots[/] are named by the beginning of their id, or: current; parent (what current "
    "followed); previous (what was current before the last move)."
)
SETTINGS = (
    "[bold]Settings[/] are options, environment variables and keys of the --config file: --seed 1 "
    "is COUPLED_GENERATION__SEED=1, and seed = 1 in section generation of the file. Titles of help "
    "pages name the section. Options win over the environment, the environment over the file, the "
    "file over --profile; --no-NAME switches off what the others have switched on."
)

Reader = Callable[[Mapping[str, Any]], Any]
"""Makes what a function wants of the values of all options and arguments."""


@dataclass(frozen=True)
class Command:
    """A command as typer takes it."""

    name: str
    callback: Callable[..., None]
    help: str
    epilog: str

    def add_to(self, app: typer.Typer, panel: str) -> None:
        """Add it to a command line, under a title of its page."""
        add = app.command(
            self.name, cls=_Hinting, help=self.help, epilog=self.epilog, rich_help_panel=panel
        )
        add(self.callback)


class _Hinting(ManPageCommand):
    """Answers an option that does not exist with the one that was perhaps meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # Typer does not export its NoSuchOption; nothing else has possibilities.
            if hasattr(error, "possibilities") and hasattr(error, "option_name"):
                names = [n for param in self.params for n in (*param.opts, *param.secondary_opts)]
                hint = suggest(error.option_name.strip("-"), [n.strip("-") for n in names])
                vars(error).update(
                    message=f"{error}{hint.replace('mean ', 'mean --')}", possibilities=None
                )
            raise


def command(*notes: str, examples: str = "") -> Callable[[Callable[..., None]], Command]:
    """Make a command of a function; its help ends with examples, notes and the exit codes."""

    def decorate(function: Callable[..., None]) -> Command:
        callback = _make_callback(function)
        shown = [f"[bold]Examples[/]\n\n{inspect.cleandoc(examples)}"] if examples else []
        about = {"snapshot": SNAPSHOTS, "config": SETTINGS}
        fitting = [about[name] for name in inspect.signature(callback).parameters if name in about]
        paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
        return Command(
            name=function.__name__.replace("_", "-"),
            callback=callback,
            help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
            epilog="\n\n".join([*shown, *notes, *fitting, f"[bold]Exit codes[/]: {EXIT_CODES}"]),
        )

    return decorate


def _make_callback(function: Callable[..., None]) -> Callable[..., None]:
    _, *wanted = inspect.signature(function).parameters.values()
    words = [each for each in wanted if _is_argument(each)]
    is_about_a_dataset = any(each.annotation is ObjectStore for each in wanted)
    if is_about_a_dataset:  # what is missing shows only once it is known what the first one is
        optional = [_parameter(each.name, each.annotation) for each in words]
        wanted = [*wanted[:1], *optional, *wanted[len(words) + 1 :]]
    parameters: list[inspect.Parameter] = []
    readers: dict[str, Reader] = {}
    for each in wanted:
        added, readers[each.name] = _expand(each)
        parameters += added
    switches = {each.name: each.type for each in fields(Terminal)}
    parameters += [_parameter(*each, default=False) for each in switches.items()]

    def callback(**given: Any) -> None:
        with reported_errors(Terminal(**{name: given.pop(name) for name in switches})) as terminal:
            values = _sort_arguments(given, words) if is_about_a_dataset else given
            function(terminal, **{name: read(values) for name, read in readers.items()})

    # Typer reads the signature, and takes this one for the function's own.
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return callback


def _is_argument(parameter: inspect.Parameter) -> bool:
    return any(isinstance(each, ArgumentInfo) for each in get_args(parameter.annotation))


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def _sort_arguments(given: Mapping[str, Any], words: Sequence[inspect.Parameter]) -> dict[str, Any]:
    """Tell the dataset from the words after it; it may stand first, in an option, or nowhere.

    Raises:
        ConfigError: an argument is missing, or there is one too many.
    """
    names, dataset = [word.name for word in words], given["dataset"]
    found = [given[each] for each in ("first", *names) if given[each] is not None]
    # As many words as the command wants: then none of them is the dataset. One more: the first is.
    if dataset is None and len(found) not in (0, len(words)):
        dataset, *found = found
    if len(found) > len(words):
        raise ConfigError(f"expected one dataset, got {found[0]!r} and --dataset {dataset}")
    missing = [each for each in words[len(found) :] if each.default is inspect.Parameter.empty]
    if missing:
        name = get_args(missing[0].annotation)[1].metavar
        raise ConfigError(f"expected {name} as an argument, got none: see --help")
    defaults = {word.name: word.default for word in words}
    return {**given, **defaults, **dict(zip(names, found, strict=False)), "dataset": dataset}


def _expand(wanted: inspect.Parameter) -> tuple[list[inspect.Parameter], Reader]:
    """Return the options and arguments behind a function's parameter, and how to read them."""
    if wanted.annotation is ObjectStore:
        return _expand_dataset()
    model, *more = get_args(wanted.annotation) or (wanted.annotation,)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return _expand_model(model, next(iter(more), Offer()))
    return [wanted.replace(kind=inspect.Parameter.KEYWORD_ONLY)], lambda given: given[wanted.name]


def _expand_dataset() -> tuple[list[inspect.Parameter], Reader]:
    text = "A folder or s3://BUCKET/PREFIX. Default: coupled-dataset."
    first = argument("DATASET", text)
    named = option("The same as an option.", "--dataset", metavar="<DATASET>")

    def read(given: Mapping[str, Any]) -> ObjectStore:
        options = {"output.uri": given["dataset"]}
        return open_store(read_settings(OutputConfig, options, Offer(section="output")).uri)

    return [
        _parameter("first", Annotated[str | None, first]),
        _parameter("dataset", Annotated[str | None, named]),
    ], read


def _expand_model(model: type[BaseModel], offer: Offer) -> tuple[list[inspect.Parameter], Reader]:
    settings = [each for each in list_settings(model, offer.section) if offer.includes(each.key)]
    parameters = [each for setting in settings for each in _options_of(setting, offer)]
    if model is RunConfig or "run" in model.model_fields:
        # First, since all other settings stand on them.
        parameters[:0] = [
            _parameter("profile", _PROFILE, "miniature"),
            _parameter("config", _CONFIG),
        ]

    def read(given: Mapping[str, Any]) -> BaseModel:
        options = {each.key: given[_name(each)] for each in settings}
        # Two options a flag, so that "not given" differs from "no": else no option could overrule
        # an environment that says yes.
        off = {each.key: False for each in settings if each.is_flag and given[_name(each, "no_")]}
        profile = given.get("profile", "miniature")
        return read_settings(model, {**options, **off}, offer, given.get("config"), profile)

    return parameters, read


_PROFILE = Annotated[
    Profile, option("Models that go together: generator, Segment Anything and CLIP.")
]
_CONFIG = Annotated[
    Path | None,
    option(
        "Settings as TOML, YAML or JSON, such as the `config` of a run in a snapshot.",
        metavar="<FILE>",
    ),
]


def _options_of(setting: Setting, offer: Offer) -> Iterator[inspect.Parameter]:
    shown = option(
        setting.describe(shows_default=offer.shows_defaults).replace("[", r"\["),
        *setting.option_names,
        metavar="" if setting.is_flag else setting.value_name,
        rich_help_panel=setting.panel,
    )
    # Values stay text here: one place judges what options, environment and file say.
    kind = bool if setting.is_flag else list[str] if setting.takes_several else str
    yield _parameter(_name(setting), Annotated[kind | None, shown])
    if setting.is_flag:
        # Shown beside the other it would take half of the page's width.
        hidden = option("", setting.off_name, hidden=True)
        yield _parameter(_name(setting, "no_"), Annotated[bool, hidden], default=False)


def _name(setting: Setting, prefix: str = "") -> str:
    return prefix + setting.key.replace(".", "__")
