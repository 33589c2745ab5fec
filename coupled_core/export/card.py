"""The dataset card: README.md with the YAML header of the Hugging Face Hub."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coupled_core.export.format import describe_formats
from coupled_core.export.parquet_files import Field
from coupled_core.export.plan import DatasetFacts, ExportPlan
from coupled_core.export.terms import (
    DISCLOSURE,
    hub_license,
    hub_license_name,
    license_names,
    license_url,
)

CARD = "README.md"
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)


def render_card(
    format_name: str,
    plan: ExportPlan,
    data_files: Mapping[str, str] | None = None,
    columns: Sequence[Field] = (),
) -> bytes:
    """Return the card of an export.

    Args:
        format_name: As `coupled export` takes it.
        data_files: Pattern of the files of each split, where `datasets` can load them.
        columns: To be listed.
    """
    header = "\n".join(_yaml(_header(plan, data_files)))
    sections = [
        f"# Coupled image pairs ({format_name})",
        _summary(format_name, plan),
        f"## AI disclosure\n\n{DISCLOSURE}",
        f"## Licence and use restrictions\n\n{_terms(plan.facts)}",
        f"## Contents\n\n{_contents(plan)}",
    ]
    if columns:
        rows = "\n".join(f"| `{c.name}` | {_cell(c.meaning)} |" for c in columns)
        sections.append(f"## Columns\n\n| column | meaning |\n|---|---|\n{rows}")
    if data_files:
        sections.append(_LOADING)
    body = "\n\n".join(sections)
    return f"---\n{header}\n---\n\n{body}\n".encode()


_LOADING = """## Loading

```python
from datasets import load_dataset

edits = load_dataset("FOLDER")  # the folder of this file
```"""


def _header(plan: ExportPlan, data_files: Mapping[str, str] | None) -> dict[str, Any]:
    facts = plan.facts
    header: dict[str, Any] = {
        "pretty_name": "Coupled image pairs",
        "language": ["en"],
        "license": hub_license(facts),
    }
    if header["license"] == "other":
        header["license_name"] = hub_license_name(facts)
        if links := [url for url in map(license_url, license_names(facts)) if url]:
            # The Hub shows one link; the table below has all licences.
            header["license_link"] = links[0]
    header["task_categories"] = ["image-to-image", "text-to-image"]
    header["tags"] = ["image-editing", "image-pairs", "synthetic", "ai-generated"]
    header["size_categories"] = [_size_category(plan.num_edits)]
    if data_files:
        files = [{"split": split, "path": path} for split, path in data_files.items()]
        header["configs"] = [{"config_name": "default", "data_files": files}]
    return header


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Write mappings, lists and texts; texts in JSON's quotes, which YAML reads as they are."""
    for name, entry in value.items():
        if isinstance(entry, str):
            yield f"{indent}{name}: {json.dumps(entry, ensure_ascii=False)}"
        else:
            yield f"{indent}{name}:"
            for item in entry:
                if isinstance(item, str):
                    yield f"{indent}- {json.dumps(item, ensure_ascii=False)}"
                else:
                    # The first key of a mapping in a list stands on the line of its dash.
                    first, *rest = _yaml(item, indent + "  ")
                    yield f"{indent}- {first.strip()}"
                    yield from rest


def _size_category(num_rows: int) -> str:
    return next((name for bound, name in _SIZES if num_rows < bound), "1B<n<10B")


def _summary(format_name: str, plan: ExportPlan) -> str:
    return (
        "Pairs of generated images that share one background and differ in what stands in it, "
        "with an instruction that turns one into the other. "
        f"{plan.facts.num_pairs} pairs as {plan.num_edits} directed edits "
        f"(directions: {plan.selection.directions}){_left_out(plan.facts)}, from snapshot "
        f"`{plan.snapshot.snapshot_id}`.\n\nFormat: {describe_formats()[format_name]}. "
        "`export.json` says the same for programs; `sha256sum -c checksums.sha256` checks files."
    )


def _left_out(facts: DatasetFacts) -> str:
    count = facts.num_edits_without_instruction
    return f"; {count} more were left out for want of an instruction" if count else ""


def _terms(facts: DatasetFacts) -> str:
    lines = ["| made by | pairs | licence | use restrictions |", "|---|---|---|---|"]
    for (model, license_name, restrictions), count in sorted(facts.sources.items()):
        url = license_url(license_name)
        name = f"[{_link_text(license_name)}]({url})" if url else _cell(license_name)
        lines.append(f"| {_cell(model)} | {count} | {name} | {_cell(restrictions)} |")
    filters = ", ".join(f"{_cell(name)}: {n}" for name, n in sorted(facts.content_filters.items()))
    reviews = ", ".join(f"{_cell(name)}: {n}" for name, n in sorted(facts.reviews.items()))
    return "\n".join(lines) + f"\n\nPairs by content filter: {filters}. By review: {reviews}."


def _contents(plan: ExportPlan) -> str:
    facts = plan.facts
    lines = ["| | pairs |", "|---|---|"]
    lines += [
        f"| partition {name} | {facts.pairs_by_partition[name]} |" for name in plan.partitions
    ]
    lines += [
        f"| variation {_cell(n)} | {count} |"
        for n, count in sorted(facts.pairs_by_variation.items())
    ]
    lines += [
        f"| {width} x {height} pixels | {count} |"
        for (width, height), count in sorted(facts.pairs_by_size.items())
    ]
    note = "Partitions go by background: none is in two of them."
    return "\n".join(lines) + f"\n\n{note}"


def _cell(text: str) -> str:
    """Keep a text of somebody else's inside its table cell, and its markup from having effect."""
    plain = " ".join(text.split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _link_text(text: str) -> str:
    return _cell(text).replace("[", "\\[").replace("]", "\\]")
