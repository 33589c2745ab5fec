"""What is written down about a run as a whole: settings, inputs, versions."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from coupled_core.config import RunConfig, fingerprint
from coupled_core.dataset.backgrounds import PARTITION_RULE
from coupled_core.dataset.commit.commit import check_comparable, what_must_agree
from coupled_core.dataset.rows import RunFacts
from coupled_core.dataset.snapshot import InputInfo, RunInfo, Snapshot
from coupled_core.prompts.prompt_set import PromptFileSummary
from coupled_core.scoring.content_filter import content_filter_version
from coupled_core.scoring.metrics import METRIC_VERSION
from coupled_core.storage.store import ObjectStore
from coupled_core.version import code_revision, package_version

_SHA256 = re.compile(r"[0-9a-f]{64}")
"""The etag of a local file is its SHA-256; stores have shorter ones."""


def describe_run(config: RunConfig, run_id: str) -> RunFacts:
    """Return what all rows of a run have in common, as of now."""
    return RunFacts(
        run_id=run_id,
        config_sha256=fingerprint(config),
        created_at=datetime.now(UTC),
        package_version=package_version(),
        torch_version=version("torch"),
        diffusers_version=version("diffusers"),
        code_revision=code_revision(),
        sam_model=config.scoring.sam_model,
        clip_model=config.scoring.clip_model,
        metric_version=METRIC_VERSION,
        content_filter_version=content_filter_version(config.content_filter),
    )


def describe_inputs(config: RunConfig, run_id: str, files: Sequence[PromptFileSummary]) -> RunInfo:
    """Return what a snapshot says about a run."""
    inputs = tuple(
        InputInfo(
            uri=file.uri,
            sha256=file.etag if _SHA256.fullmatch(file.etag) else None,
            etag=file.etag,
            num_rows=file.num_rows,
            unknown_columns=tuple(column.name for column in file.unknown_columns),
        )
        for file in files
    )
    return RunInfo(
        run_id=run_id,
        config=config.model_dump(mode="json"),
        config_sha256=fingerprint(config),
        inputs=inputs,
        package_version=package_version(),
        metric_version=METRIC_VERSION,
        partition_rule=PARTITION_RULE,
    )


def refuse_other_scores(config: RunConfig, snapshot: Snapshot | None, store: ObjectStore) -> None:
    """Stop a run before it spends anything if a dataset must not mix its rows with those it has.

    Raises:
        DatasetError: naming the settings that differ.
    """
    if snapshot is not None:
        facts = what_must_agree(config.model_dump(mode="json"), METRIC_VERSION, PARTITION_RULE)
        check_comparable(
            store, snapshot, facts, lambda prompts: _are_long(config.scoring.clip_model, prompts)
        )


def _are_long(clip_model: str, prompts: Sequence[str]) -> bool:
    # Here, because only datasets of old versions ask for it.
    from coupled_core.scoring.clip_texts import load_clip_reader

    reader = load_clip_reader(clip_model)
    return any(len(reading.tokens) > reader.window for reading in reader.read(prompts))
