"""What a splitter is, and which one a run uses."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from coupled_core.config import RunConfig, SplitConfig, fingerprint
from coupled_core.plugins import find_plugins
from coupled_core.records import (
    EditInstruction,
    GroupSplit,
    PromptGroup,
    Rejection,
    SplitOutcome,
)
from coupled_core.splitting.instructions import (
    INSTRUCTIONS_VERSION,
    tell_directions_apart,
    write_instructions,
)
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.storage.open_store import open_store


class Splitter(Protocol):
    """Turns the prompts of a group into one background and one entity a prompt.

    What comes back is data: nothing of it becomes a path, a key or a command. Another package adds
    a splitter by an entry point of the group `coupled_images.splitters`: a function that takes the
    `SplitConfig` and returns one. Its name is then a value of `SplitConfig.splitter`.
    """

    @property
    def identity(self) -> str:
        """Name and version; equal identities give equal splits for equal prompts."""

    def request_sha256(self, group: PromptGroup) -> str:
        """Return the `GroupSplit.request_sha256` that a split of this group has or would have.

        Known without splitting: pair ids are computed from it when a run is planned.
        """

    def split(self, groups: Sequence[PromptGroup]) -> list[SplitOutcome]:
        """Return a split or a rejection for each group, in order."""

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Do beforehand what is better done for a whole set than for a shard of it.

        Args:
            read_groups: Yields every group that `split` will be asked for, as often as it is
                called.
            num_groups: How many that is at most, for progress.
        """


def is_given(group: PromptGroup) -> bool:
    """Say whether the prompt set brings the split of a group along."""
    return group.background_prompt is not None and group.entity_prompts is not None


class GivenFirstSplitter:
    """Takes the split that a prompt set brings along; asks another splitter only for the rest."""

    def __init__(self, fallback: Splitter) -> None:
        self._fallback = fallback

    @property
    def identity(self) -> str:
        """The fallback's: a given split is identified by its own texts."""
        return self._fallback.identity

    def request_sha256(self, group: PromptGroup) -> str:
        """Return the hash of the texts of a given split, or of what the fallback is asked."""
        if is_given(group):
            return _hash_given(group)
        return hash_with_own(group, self._fallback.request_sha256(group))

    def split(self, groups: Sequence[PromptGroup]) -> list[SplitOutcome]:
        """Return a split or a rejection for each group, in order; the fallback is called once."""
        open_groups = [group for group in groups if not is_given(group)]
        # One call for all, since a paid splitter sends them as one batch.
        found = iter(self._fallback.split(open_groups) if open_groups else [])
        splits = (_take_given(group) if is_given(group) else next(found) for group in groups)
        return [_take_own(group, split) for group, split in zip(groups, splits, strict=True)]

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Let the fallback prepare for the groups that have no split of their own."""
        self._fallback.prepare(
            lambda: (group for group in read_groups() if not is_given(group)), num_groups
        )


def choose_splitter(config: SplitConfig) -> str:
    """Return the splitter that "auto" means: the rules, whatever the environment holds.

    Nothing is sent away or paid because a key happens to be exported.
    """
    return "offline" if config.splitter == "auto" else config.splitter


def build_splitter(config: SplitConfig, account: str | None = None) -> Splitter:
    """Return the configured splitter, behind the splits that are given in the set.

    Args:
        account: Whose money an LLM spends, such as a run: what this account paid for earlier is
            its cost, what others paid for is free. None: an account of this object's own.

    Raises:
        ConfigError: the API's splitter is asked for without a key, without a cap on spending, or
            for a model of unknown price.
    """
    name = choose_splitter(config)
    if name == "offline":
        return GivenFirstSplitter(OfflineSplitter())
    if name != "anthropic":
        return GivenFirstSplitter(find_plugins("splitters")[name](config))
    # Here, since most runs ask no model and need none of it.
    from coupled_core.splitting.llm.splitter import LlmSplitter

    return GivenFirstSplitter(LlmSplitter(config, account))


def _take_given(group: PromptGroup) -> GroupSplit:
    assert group.background_prompt is not None, "only given splits are taken"
    assert group.entity_prompts is not None, "only given splits are taken"
    edit_instructions, kind = write_instructions(group.entity_prompts, group.prompts)
    return GroupSplit(
        background_prompt=group.background_prompt,
        entity_prompts=group.entity_prompts,
        edit_instructions=edit_instructions,
        variation_kind=group.variation_kind or kind,
        source="given",
        request_sha256=_hash_given(group),
    )


def _hash_given(group: PromptGroup) -> str:
    sha256 = fingerprint(
        {
            "splitter": f"given/instructions-{INSTRUCTIONS_VERSION}",
            "prompts": list(group.prompts),
            "background_prompt": group.background_prompt,
            "entity_prompts": list(group.entity_prompts or ()),
            "variation_kind": group.variation_kind,
        }
    )
    return hash_with_own(group, sha256)


def hash_with_own(group: PromptGroup, sha256: str) -> str:
    """Return the hash of a request together with the instructions that the set brings along.

    With other instructions of its own a group is another one, and gets new rows.
    """
    if not group.edit_instructions:
        return sha256
    given = [list(instruction) for instruction in group.edit_instructions]
    return fingerprint({"split": sha256, "edit_instructions": given})


def _take_own(group: PromptGroup, split: SplitOutcome) -> SplitOutcome:
    """Put the instructions of the prompt set in the place of those that were written."""
    if isinstance(split, Rejection) or not group.edit_instructions:
        return split
    given = {(i, j): EditInstruction(text, "given") for i, j, text in group.edit_instructions}
    request = split.request_sha256
    return replace(
        split,
        edit_instructions=tell_directions_apart({**split.edit_instructions, **given}),
        request_sha256=request if is_given(group) else hash_with_own(group, request),
    )


_FOLDER = "split-answers"


def settle_split(config: RunConfig) -> RunConfig:
    """Return settings in which the splitter is named and the answers have a place.

    Without a place of their own, answers lie with the dataset: as durable as what is made of them,
    and in reach of every worker.
    """
    split = config.split
    uri = split.cache_uri or f"{config.output.uri.rstrip('/')}/{_FOLDER}"
    settled = split.model_copy(
        update={
            "splitter": choose_splitter(split),
            "cache_uri": uri,
            "thinking": split.least_thinking,
        }
    )
    return config.model_copy(update={"split": settled})


def account_of(config: RunConfig, run_id: str) -> str:
    """Name whose money a run spends: its own, whatever attempt or worker of it is at work.

    Another dataset is another account: what is copied from the cache is not paid for twice.
    """
    dataset = open_store(config.output.uri).uri
    return fingerprint({"run_id": run_id, "dataset": dataset})[:32]


def describe_splitter(asked: SplitConfig, settled: SplitConfig) -> str:
    """Say who splits what is not split already, and why, for people."""
    if settled.splitter == "anthropic":
        return f"{settled.model} (answers in {settled.cache_uri})"
    if settled.splitter != "offline":
        return settled.splitter
    why = " (a language model only with --splitter anthropic)" if asked.splitter == "auto" else ""
    return f"offline rules{why}"


def spent_usd(settled: SplitConfig, account: str) -> float:
    """Return what an account has spent on answers at most, all attempts together, in USD."""
    if settled.splitter != "anthropic" or settled.cache_uri is None:
        return 0.0
    from coupled_core.llm.spending import Ledger

    return Ledger(open_store(settled.cache_uri), account).total()
