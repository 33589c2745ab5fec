"""A commented prompt set to begin with: CSV, TSV or JSON Lines that is read as it stands."""

import csv
import io
import json

from coupled_core.errors import ConfigError
from coupled_core.prompts.columns import Form
from coupled_core.prompts.formats import read_ending

_GROUPS = {
    "meadow": ("A purple butterfly in a vibrant meadow at noon",
               "A black rabbit in a vibrant meadow at noon"),
    "beach": ("On a beach by the sea on a clear day, an orange balloon drifts.",
              "On a beach by the sea on a clear day, a black kite soars."),
    "desert": ("In a dry desert in bright daylight, a blue turtle crawls",
               "In a dry desert in bright daylight, a white car is parked",
               "In a dry desert in bright daylight, a red umbrella stands open"),
}  # fmt: skip
_NUM_SEEDS = {"beach": 2}
_INTRODUCTION = """\
A prompt set for `coupled build`. Edit the rows below. Lines at the top that begin with # are
comments; keep them or not.

The images of a group share one background, and each two of them become a pair. So describe one
scene in the same words, and let only the thing in it differ.
"""
_FORM: dict[Form, str] = {
    "long": """\
One row a prompt. The rows of a group stand side by side and have the same group_id; what else is
said of a group stands in each of its rows. An empty cell says nothing.{quoting}
""",
    "wide": """\
One line a group, as a JSON object. A key that is left out says nothing.
""",
}
_QUOTING = """ A text with a comma in it
stands in double quotes."""
_REQUIRED: dict[Form, dict[str, str]] = {
    "long": {
        "group_id": "any text of your own that no other group has",
        "prompt": "what one image shows; a group has 2 to 100",
    },
    "wide": {
        "group_id": "any text of your own that no other group has",
        "prompts": "what the images show: 2 to 100 texts",
    },
}
_SPLIT: dict[Form, tuple[str, str]] = {
    "long": ("entity_prompt", "the thing in this prompt"),
    "wide": ("entity_prompts", "the thing in each prompt, a list as long"),
}
_OPTIONAL = {
    "seed": "whole number that the noise follows from; else --seed and group_id decide",
    "num_seeds": "how often to draw the group, each time from other noise; else 1",
    "width": "of the images in pixels, a multiple of 16; else --width",
    "height": "of the images in pixels, a multiple of 16; else --height",
    "variation_kind": "entity_swap, pose, position or appearance",
    "background_prompt": "the scene without the thing, where no rule or model shall find it",
    "": "",
    "edit_instruction": "how to make the second image of the first; else it is written for you",
    "inverse_instruction": "and the first of the second",
    "edit_instructions": 'for more than two: a list of {"from": 0, "to": 1, "instruction": "..."}',
}


def make_example(name: str) -> str:
    """Return an example prompt set in the format that a file's name says.

    Raises:
        ConfigError: people do not edit files of such a name.
    """
    form = read_ending(name)
    if form is None or form.compression or form.name == "Parquet":
        raise ConfigError(
            f"{name!r} is no name of an example to edit: expected one that ends in .csv, .tsv or "
            ".jsonl"
        )
    if form.name == "JSON Lines":
        return _comment("wide", "") + _write_json_lines()
    delimiter = "\t" if form.name == "TSV" else ","
    return _comment("long", _QUOTING if delimiter == "," else "") + _write_csv(delimiter)


def _comment(form: Form, quoting: str) -> str:
    entity, meaning = _SPLIT[form]
    optional = {name or entity: text or meaning for name, text in _OPTIONAL.items()}
    blocks = [
        _INTRODUCTION,
        _FORM[form].format(quoting=quoting),
        _list_columns("Needed:", _REQUIRED[form]),
        _list_columns("You may add:", optional),
        "Columns of other names mean nothing here. They come with the pairs, in `extra`.",
    ]
    lines = "\n".join(blocks).splitlines()
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _list_columns(title: str, columns: dict[str, str]) -> str:
    return "\n".join([title, *(f"  {name:<21}{text}" for name, text in columns.items()), ""])


def _write_csv(delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["group_id", "prompt", "num_seeds"])
    for name, prompts in _GROUPS.items():
        writer.writerows([name, prompt, _NUM_SEEDS.get(name)] for prompt in prompts)
    return text.getvalue()


def _write_json_lines() -> str:
    rows = (
        {"group_id": name, "prompts": prompts, **_list_num_seeds(name)}
        for name, prompts in _GROUPS.items()
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _list_num_seeds(name: str) -> dict[str, int]:
    return {"num_seeds": _NUM_SEEDS[name]} if name in _NUM_SEEDS else {}
