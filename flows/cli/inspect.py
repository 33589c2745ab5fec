"""`coupled validate` and `coupled show`: look without changing anything."""

from dataclasses import asdict

from coupled_core.config import RunConfig
from coupled_core.dataset.reader import current_snapshot
from coupled_core.errors import DatasetError
from coupled_core.prompts.prompt_set import check_prompt_set
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal


def validate_and_report(config: RunConfig, terminal: Terminal) -> None:
    """Check a prompt set and print what is in it.

    Raises:
        PromptSetError: it cannot be used as it is.
    """
    summary = check_prompt_set(config.prompts)
    terminal.say(
        f"{config.prompts.uri}: {summary.num_groups} groups, {summary.num_prompts} prompts, "
        f"{summary.num_quarantined} unusable rows, {len(summary.files)} files"
    )
    terminal.print_json(asdict(summary))


def show_and_report(dataset: str, terminal: Terminal) -> None:
    """Print the current snapshot of a dataset.

    Raises:
        DatasetError: there is none.
    """
    store = open_store(dataset)
    snapshot = current_snapshot(store)
    if snapshot is None:
        raise DatasetError(
            f"{store.uri} holds no dataset: build one with `coupled build --output {dataset}`"
        )
    terminal.say(f"{store.uri}\nsnapshot {snapshot.snapshot_id}, {len(snapshot.runs)} runs\n")
    terminal.say(snapshot.funnel.render() + "\n")
    for part in snapshot.parts:
        terminal.say(
            f"{part.num_rows:>9,} rows {part.size_bytes:>13,} bytes  {store.uri}/{part.key}"
        )
    terminal.print_json(
        {
            "dataset": store.uri,
            **snapshot.model_dump(mode="json"),
            "funnel": snapshot.funnel.to_dict(),
        }
    )
