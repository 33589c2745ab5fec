"""Groups to split, and splitters that do not wait long."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coupled_core.config import SplitConfig
from coupled_core.llm.dialogue import Patience
from coupled_core.records import GroupSplit, PromptGroup, Rejection, SplitOutcome
from coupled_core.splitting.llm.splitter import LlmSplitter
from coupled_core.storage.leases import LeaseTimes
from coupled_core.storage.local import LocalStore

SOON = Patience(
    first_backoff_seconds=0.02,
    first_poll_seconds=0.02,
    max_poll_seconds=0.1,
    look_after_seconds=(0.0, 0.1),
    twin_seconds=0.5,
    lease=LeaseTimes(beat_seconds=0.2, lost_after_seconds=4.0, poll_seconds=0.05),
)


def make_group(number: int, marker: str = "") -> PromptGroup:
    """Return a group; a marker such as "[[malformed x1]]" tells the server what to do wrong."""
    prompts = (f"A fox of kind k{number} {marker} in a quiet garden", "An owl in a quiet garden")
    return PromptGroup(f"group-{number}", prompts, "set.parquet", number)


def make_groups(count: int) -> list[PromptGroup]:
    return [make_group(number) for number in range(count)]


def make_splitter(folder: Path, account: str = "run", **settings: Any) -> LlmSplitter:
    """Return a splitter whose answers lie in a folder, and without a cap where none is given."""
    config = SplitConfig(
        cache_uri=str(folder), **{"no_cap": "max_llm_usd" not in settings, **settings}
    )
    return LlmSplitter(config, account, SOON)


def split_all(outcomes: Sequence[SplitOutcome]) -> list[GroupSplit]:
    """Return outcomes that are all splits."""
    rejected = [outcome.message for outcome in outcomes if isinstance(outcome, Rejection)]
    assert not rejected, rejected
    return [outcome for outcome in outcomes if isinstance(outcome, GroupSplit)]


class InterruptedStore(LocalStore):
    """A folder where something happens just before an object is first created below a prefix."""

    def __init__(self, root: Path, prefix: str, happens: Callable[[], object]) -> None:
        super().__init__(root)
        self._prefix, self._happens = prefix, happens

    def write_if_absent(self, key: str, data: bytes) -> str:
        self._interrupt(key)
        return super().write_if_absent(key, data)

    def write(self, key: str, data: bytes) -> str:
        self._interrupt(key)
        return super().write(key, data)

    def _interrupt(self, key: str) -> None:
        if key.startswith(self._prefix):
            self._prefix = "nothing more/"
            self._happens()
