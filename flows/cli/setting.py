"""What settings there are: the fields of pydantic models, and how each looks on a command line.

A field is the only declaration of its setting. Its name makes the option, `--num-inference-steps`;
its type and bounds say what stands for the value in a help text; its docstring is the help.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from coupled_core.config import RunConfig

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "prompts.uri": ("--prompts",),
    "split.model": ("--split-model",),
    "split.thinking": ("--split-thinking",),
    "split.transport": ("--split-transport",),
    "split.batch_size": ("--split-batch-size",),
    "split.cache_uri": ("--split-cache",),
    "split.refresh": ("--refresh-split",),
    "scoring.dtype": ("--scoring-dtype",),
    "content_filter.concept_list": ("--content-filter",),
    "duplicates.drop": ("--drop-duplicates",),
    "output.uri": ("--output", "-o", "--dataset"),
    "optimize.output": ("--output", "-o"),
    "compare.output": ("--output", "-o"),
}
"""Options whose names are not simply the field's."""
_OFF = {
    "split.refresh": "--no-refresh-split",
    "split.no_cap": "--require-cap",
    "duplicates.drop": "--keep-duplicates",
}
"""Options that turn a flag off, and are not called --no-NAME."""

OF_DATASETS = ("selection", "content_filter", "duplicates", "output")
"""Sections about which pairs a dataset holds and where it is: research makes none."""


@dataclass(frozen=True)
class Offer:
    """Which settings of a model are options of a command."""

    section: str = ""
    """Section of a settings file that holds the model's own fields. Empty: the model is a
    `RunConfig`, whose sections are its stages, or is set by options alone."""
    only: tuple[str, ...] = ()
    """Sections or keys to offer, such as `generation` or `generation.device`; empty: all."""
    without: tuple[str, ...] = ()
    """Sections or keys to leave out."""
    shows_defaults: bool = True
    """Whether a setting that is not given takes its default."""

    def includes(self, key: str) -> bool:
        """Return whether a setting is offered."""
        names = {key, key.partition(".")[0]}  # the setting itself, and its section
        return (not self.only or not names.isdisjoint(self.only)) and names.isdisjoint(self.without)


@dataclass(frozen=True)
class Setting:
    """A field of a model."""

    key: str
    """Section and name as in a settings file, `generation.seed`."""
    field: FieldInfo
    default: Any
    """The value where nobody gives one; the model around the field may know a better one."""
    panel: str
    """Title over its group of options."""

    @property
    def is_flag(self) -> bool:
        """Whether its option takes no value."""
        return self.field.annotation is bool

    @property
    def takes_several(self) -> bool:
        """Whether its option may be given more than once, and all values count."""
        kinds = get_args(self.field.annotation)
        return str in kinds and any(get_origin(kind) is tuple for kind in kinds)

    @property
    def option_names(self) -> tuple[str, ...]:
        """The names of its option, the usual one first."""
        word = self.key.rpartition(".")[2].replace("_", "-")
        return _OPTIONS.get(self.key, (f"--{word}",))

    @property
    def off_name(self) -> str:
        """The name of the option that turns a flag off."""
        word = self.key.rpartition(".")[2].replace("_", "-")
        return _OFF.get(self.key, f"--no-{word}")

    @property
    def value_name(self) -> str:
        """What stands for the value in a help text: the choices, or the type."""
        kind = strip_none(self.field.annotation)
        if get_origin(kind) is Literal:
            return f"<{'|'.join(map(str, get_args(kind)))}>"
        if get_origin(kind) is tuple:
            return "<value,...>"
        if issubclass(kind, BaseModel):
            return "<FILE|off>"
        return f"<{kind.__name__}>"

    def describe(self, *, shows_default: bool) -> str:
        """Return the help text; a default that the docstring puts into words is said in these.

        The range stands here and not beside the option: at 80 columns that would cut long names.
        """
        text = " ".join((self.field.description or "").split())
        if not shows_default:
            return text.partition(" Default:")[0] + _describe_range(self.field)
        text, _, default = text.partition(" Default:")
        text += _describe_range(self.field)
        if default or self.default in (None, ()):
            return f"{text} Default:{default}" if default else text
        if self.is_flag:
            return f"{text} Default: {f'yes; {self.off_name} for no' if self.default else 'no'}."
        return f"{text} Default: {_write(self.default)}."


def list_settings(model: type[BaseModel], section: str = "") -> Iterator[Setting]:
    """Yield the settings of a model, those of the models in it included.

    Args:
        model: All of its fields have defaults.
        section: Where a settings file has the model's own fields, if not at the top.
    """
    return _walk(model, model.model_construct(), section)  # unchecked: some checks import a lot


def _walk(model: type[BaseModel], values: BaseModel, section: str) -> Iterator[Setting]:
    title = model.model_config.get("title") or model.__name__
    for name, field in model.model_fields.items():
        kind, value = field.annotation, getattr(values, name)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, value, "" if kind is RunConfig else name)
        elif get_origin(kind) is not Mapping:  # a table has no place on a command line
            key, panel = (f"{section}.{name}", f"{title} ({section})") if section else (name, title)
            yield Setting(key, field, value, panel)


def find_model(model: type[BaseModel], path: tuple[str, ...]) -> type[BaseModel] | None:
    """Return the model that a path leads to, through optional models and tables of models."""
    found: Any = model
    for part in path:
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = found.model_fields.get(part)
            found = strip_none(field.annotation) if field else None
        else:
            found = get_args(found)[-1] if get_origin(found) is Mapping else None
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def strip_none(annotation: Any) -> Any:
    """Return `X` of `X | None`, and anything else as it is."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return next(kind for kind in get_args(annotation) if kind is not type(None))


def _describe_range(field: FieldInfo) -> str:
    names = ("ge", "gt", "le", "lt")
    bounds = {n: getattr(m, n) for m in field.metadata for n in names if hasattr(m, n)}
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is not None and high is not None:
        return f" From {low:g} to {high:g}."
    if low is not None:
        return f" {'From' if 'ge' in bounds else 'Above'} {low:g}."
    return "" if high is None else f" Up to {high:g}."


def _write(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
