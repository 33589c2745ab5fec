"""Croissant 1.1 metadata (JSON-LD): files with checksums, fields, licence, use restrictions.

Source: MLCommons, "Croissant Format Specification" 1.1; use restrictions as its section "Data Use
Conditions" has them, an ODRL offer in `usageInfo`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from coupled_core.dataset.columns import BACKGROUND_FIELDS, IMAGE_FIELDS, MANIFEST_SCHEMA
from coupled_core.dataset.snapshot import stores_background
from coupled_core.export.folder import FileInfo
from coupled_core.export.parquet_files import Field
from coupled_core.export.plan import DatasetFacts, ExportPlan
from coupled_core.export.terms import DISCLOSURE, license_names, license_url

CROISSANT = "croissant.json"
_PARQUET = "application/x-parquet"
_IMAGE = "sc:ImageObject"
_PROJECT = "Coupled Images"
_TYPES: Mapping[pa.DataType, str] = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.float64(): "cr:Float64",
    pa.timestamp("us", tz="UTC"): "sc:DateTime",
}


def describe_shards(
    plan: ExportPlan,
    shards: Sequence[FileInfo],
    data_files: Mapping[str, str],
    columns: Sequence[Field],
) -> bytes:
    """Return the metadata of a Parquet export; its paths are relative to the export."""
    files = [_file_object(info.path, info.path, info.size_bytes, info.sha256) for info in shards]
    file_sets = [_file_set(f"{split}-shards", path) for split, path in data_files.items()]
    record_sets = [
        _record_set(
            split, f"{split}-shards", {c.name: (_data_type(c.type), c.meaning) for c in columns}
        )
        for split in data_files
    ]
    return _render(plan, [*files, *file_sets], record_sets)


def describe_parts(plan: ExportPlan) -> bytes:
    """Return the metadata of a snapshot's own parts, for a place beside `current.json`."""
    parts = plan.snapshot.parts
    files = [_file_object(part.key, part.key, part.size_bytes, part.sha256) for part in parts]
    file_sets = [
        _file_set(f"{kind}-parts", *(part.key for part in plan.snapshot.parts_of(kind)))
        for kind in ("manifest", "images")
    ]
    manifest = {
        field.name: (_data_type(field.type), field.metadata[b"meaning"].decode())
        for field in MANIFEST_SCHEMA
    }
    has_background = stores_background(plan.snapshot.runs[0].config)  # as all its runs
    pictures = {"pair_id": ("sc:Text", "The pair, as in the manifest.")} | {
        name: (_IMAGE, f"{name.replace('_', ' ')} of the pair.")
        for name in (*IMAGE_FIELDS, *(BACKGROUND_FIELDS if has_background else ()))
    }
    record_sets = [
        _record_set("manifest", "manifest-parts", manifest),
        _record_set("images", "images-parts", pictures),
    ]
    return _render(plan, [*files, *file_sets], record_sets)


def _render(
    plan: ExportPlan, distribution: Sequence[dict[str, Any]], record_sets: Sequence[dict[str, Any]]
) -> bytes:
    snapshot, facts = plan.snapshot, plan.facts
    licenses = [license_url(name) or name for name in license_names(facts)]
    metadata = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": "coupled-image-pairs",
        "description": (
            "Pairs of generated images that share a background and differ in what stands in it, "
            f"with edit instructions. {facts.num_pairs} pairs. {DISCLOSURE}"
        ),
        "license": licenses,
        "url": f"urn:coupled-images:snapshot:{snapshot.snapshot_id}",
        "citeAs": f"{_PROJECT}, snapshot {snapshot.snapshot_id}",
        "creator": {"@type": "sc:Organization", "name": _PROJECT},
        "datePublished": f"{snapshot.created_at:%Y-%m-%d}",
        # The content's own hash is its version; a number would claim an order of changes.
        "version": f"1.0.0+{snapshot.snapshot_id.rpartition('-')[2]}",
        "keywords": ["image editing", "image pairs", "synthetic", "AI-generated"],
        "inLanguage": "en",
        "usageInfo": _usage(facts),
        "rai:dataCollection": "Synthetic: generated from text prompts, scored and filtered.",
        "rai:personalSensitiveInformation": "None collected: no photographs, no persons asked.",
        "prov:wasGeneratedBy": [
            {"@type": "prov:Activity", "prov:label": f"Image generation with {model}"}
            for model in sorted({model for model, _, _ in facts.sources})
        ],
        "distribution": list(distribution),
        "recordSet": list(record_sets),
    }
    return (json.dumps(metadata, indent=2) + "\n").encode()


def _usage(facts: DatasetFacts) -> list[dict[str, Any]]:
    return [
        {
            "@type": ["CreativeWork", "odrl:Offer"],
            "name": f"Terms of {model} ({license_name})",
            "abstract": restrictions,
            "odrl:permission": {
                "@type": "odrl:Permission",
                "odrl:action": {"@id": "odrl:use"},
                "odrl:duty": {"@type": "odrl:Duty", "odrl:action": {"@id": "odrl:inform"}},
            },
        }
        for model, license_name, restrictions in sorted(facts.sources)
    ]


def _file_object(name: str, url: str, size_bytes: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": url,
        "contentSize": f"{size_bytes} B",
        "encodingFormat": _PARQUET,
        "sha256": sha256,
    }


def _file_set(name: str, *patterns: str) -> dict[str, Any]:
    includes = patterns[0] if len(patterns) == 1 else list(patterns)
    return {"@type": "cr:FileSet", "@id": name, "encodingFormat": _PARQUET, "includes": includes}


def _record_set(
    name: str, file_set: str, fields: Mapping[str, tuple[str | None, str]]
) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": meaning,
                "dataType": data_type,
                "source": _source(file_set, column, data_type),
            }
            for column, (data_type, meaning) in fields.items()
            if data_type is not None
        ],
    }


def _source(file_set: str, column: str, data_type: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": file_set}, "extract": {"column": column}}
    if data_type == _IMAGE:  # a struct of bytes and path
        source["transform"] = {"jsonPath": "bytes"}
    return source


def _data_type(kind: pa.DataType) -> str | None:
    """Return Croissant's name of a type; None for lists, which 1.1's readers do not agree on."""
    if pa.types.is_struct(kind):
        return _IMAGE
    return _TYPES.get(kind)


_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    # Texts by language, as 1.1 has them.
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{
        term: f"cr:{term}"
        for term in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract",
            "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
            "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
            "subField", "transform",
        )
    },
}  # fmt: skip
