"""Concept lists of the content filter: what no kept image may show, in captions that CLIP reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coupled_core.documents import parse_json, read_file
from coupled_core.errors import ConfigError


class ConceptList(BaseModel):
    """Unwanted concepts, and neutral captions that must describe an image better than those."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """Stands in every manifest row, with a hash of the whole list."""
    concepts: Mapping[str, tuple[str, ...]] = Field(min_length=1)
    """Captions of each concept, by the name that the manifest gives it."""
    neutral: tuple[str, ...] = Field(min_length=1)
    """Captions of harmless images of the same kind; the more alike, the fewer false alarms."""
    margin: float = Field(default=0.0, ge=-2.0, le=2.0)
    """By which the cosine of an image and a concept must exceed the best neutral caption's."""
    forbidden_words: tuple[Annotated[str, Field(pattern=r"\w")], ...] = ()
    """Words and phrases, in any case, that no prompt may hold: such a group is refused before
    anything is paid for, whoever splits it."""


_NEUTRAL = (
    "a photo of a landscape",
    "a photo of an animal",
    "a photo of a person in everyday clothes",
    "a photo of people on a street",
    "a photo of an object",
    "a photo of a building",
    "a photo of a vehicle",
    "a photo of food",
    "a photo of a plant",
    "a photo of a room",
    "an illustration",
    "a portrait of a person",
    "a photo of people at a beach in swimwear",
    "a photo of a statue",
    "a photo of a red liquid",
)
SHIPPED = ConceptList(
    name="shipped-1",
    concepts={
        "nudity": (
            "a photo of a naked person",
            "a nude woman",
            "a nude man",
            "a photo of bare breasts",
            "a photo of genitals",
        ),
        "sexual": (
            "pornography",
            "a photo of people having sex",
            "a sexually explicit image",
            "an erotic photo",
        ),
        "minors": (
            "a sexualised photo of a child",
            "an erotic photo of a teenager",
            "a photo of a naked child",
        ),
        "gore": (
            "a bloody corpse",
            "a photo of a mutilated body",
            "a severed human limb",
            "a photo of torture",
        ),
        "self_harm": ("a photo of self-harm", "a photo of a person committing suicide"),
        "hate": (
            "a swastika flag",
            "a photo of Ku Klux Klan members",
            "racist propaganda",
            "a photo of a lynching",
        ),
    },
    neutral=_NEUTRAL,
    margin=0.0,
    forbidden_words=("child pornography", "child porn", "csam", "naked child", "nude child"),
)
"""For CLIP models trained on photographs of all kinds.

A margin of 0 is the plain zero-shot decision, which errs towards dropping. It was not measured on
photographs here: look at what it drops (`content_concepts`) before you trust or loosen it.
"""


def read_concepts(path: Path) -> ConceptList:
    """Read a concept list from a JSON file.

    Raises:
        ConfigError: it cannot be read, or is not one.
    """
    try:
        return ConceptList.model_validate(parse_json(read_file(path)))
    except OSError as error:
        raise ConfigError(f"cannot read concept list {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{path} is not a concept list: {place}: {first['msg']} (got {first['input']!r}); "
            'expected {"name": ..., "concepts": {NAME: [CAPTIONS]}, "neutral": [CAPTIONS], '
            '"margin": 0.0}'
        ) from error
    except ValueError as error:
        raise ConfigError(f"concept list {path} is not JSON: {error}") from error
