"""What the settings of a run's splitter mean on this machine, decided once for all its workers."""

from coupled_core.config import RunConfig, SplitConfig, fingerprint
from coupled_core.splitting.splitter import choose_splitter
from coupled_core.storage.store import open_store

_FOLDER = "split-answers"


def settle_split(config: RunConfig) -> RunConfig:
    """Return settings in which the splitter is named and the answers have a place.

    Without a place of their own, answers lie with the dataset: as durable as what is made of them,
    and in reach of every worker.
    """
    split = config.split
    uri = split.cache_uri or f"{config.output.uri.rstrip('/')}/{_FOLDER}"
    settled = split.model_copy(update={"splitter": choose_splitter(split), "cache_uri": uri})
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
    why = " (ANTHROPIC_API_KEY is not set)" if asked.splitter == "auto" else ""
    return f"offline rules{why}"


def spent_usd(settled: SplitConfig, account: str) -> float:
    """Return what an account has spent on answers at most, all attempts together, in USD."""
    if settled.splitter == "offline" or settled.cache_uri is None:
        return 0.0
    from coupled_core.splitting.llm.ledger import Ledger

    return Ledger(open_store(settled.cache_uri), account).total()
