"""The splitter that asks a language model: one question a group, and one more to repair it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from coupled_core.config import SplitConfig
from coupled_core.llm.answers import StoredAnswer
from coupled_core.llm.ask import Asker
from coupled_core.llm.dialogue import Dialogue, Patience, Session, Subject
from coupled_core.llm.question import Question
from coupled_core.llm.reading import quote
from coupled_core.progress import current_progress
from coupled_core.records import GroupSplit, PromptGroup, Rejection, RejectReason, SplitOutcome
from coupled_core.splitting.llm.checks import find_problems, take_instructions
from coupled_core.splitting.llm.question import (
    Answer,
    build_question,
    build_repair,
    request_sha256,
    splitter_identity,
)
from coupled_core.storage.open_store import open_store

_STAGE = "split"
_MAX_ATTEMPTS = 2
"""The first question and one repair."""
_MAX_PROBLEMS = 8
_MAX_PREPARED = 4096
"""Outcomes of `prepare` that wait in memory for `split`; those of a larger set are read again."""
_DEFAULT_CACHE = Path("~/.cache/coupled-images/split-answers")


@dataclass(frozen=True)
class GroupToSplit:
    """A group as a subject of questions to a model."""

    config: SplitConfig
    group: PromptGroup

    @cached_property
    def first_question(self) -> Question:
        """The question how to split it."""
        return build_question(self.config, self.group)

    @property
    def name(self) -> tuple[str, str]:
        """Tells it from other groups, and from the same one asked about otherwise."""
        return self.group.group_id, self.first_question.key.request_sha256

    def judge(self, dialogue: Dialogue[SplitOutcome]) -> Question | SplitOutcome:
        """Return the split, why there will be none, or the question that has it repaired."""
        last, is_last = dialogue.answers[-1], len(dialogue.answers) == _MAX_ATTEMPTS
        result = _judge(last, self.group.prompts, needs_instructions=not is_last)
        if isinstance(result, Answer):
            return self._split(result, dialogue)
        if isinstance(result, list) and not is_last:
            return build_repair(dialogue.question, last.text, result)
        if isinstance(result, list):
            why = "the answer was wrong, and again after it was told why"
            result = Rejection(RejectReason.SPLIT_FAILED, f"{why}: {'; '.join(result)}")
        cost_usd = sum(answer.cost_usd for answer in dialogue.paid)
        return Rejection(result.reason, quote(f"{self.config.model}: {result.message}"), cost_usd)

    def _split(self, answer: Answer, dialogue: Dialogue[SplitOutcome]) -> GroupSplit:
        # The last answer is the split; what the one before it cost was spent on it, too.
        paid, last = dialogue.paid, dialogue.answers[-1]
        return GroupSplit(
            background_prompt=answer.background_prompt.strip(),
            entity_prompts=tuple(entity.strip() for entity in answer.entity_prompts),
            edit_instructions=take_instructions(answer, self.group.prompts),
            variation_kind=self.group.variation_kind or answer.variation_kind,
            source=paid[-1].transport if paid else "cache",
            request_sha256=dialogue.request_sha256,
            model=last.model,
            prompt_version=last.instruction_version,
            llm_cost_usd=sum(each.cost_usd for each in paid),
        )


class LlmSplitter:
    """Splits by one question a group, and one more where the answer does not pass the checks."""

    def __init__(
        self, config: SplitConfig, account: str | None = None, patience: Patience | None = None
    ) -> None:
        """Check what can be checked without a request; the arguments are those of `Asker`."""
        store = open_store(config.cache_uri or _DEFAULT_CACHE.expanduser())
        self.asker = Asker(config, store, _STAGE, account, patience)
        self._config = config
        self._prepared: dict[tuple[str, str], SplitOutcome] = {}

    @property
    def session(self) -> Session:
        """Whose questions are asked, and where the answers are kept."""
        return self.asker.session

    @property
    def identity(self) -> str:
        """Model and version of the instruction."""
        return splitter_identity(self._config)

    def request_sha256(self, group: PromptGroup) -> str:
        """Return the hash of what the model is asked about a group."""
        return request_sha256(self._config, group)

    def split(self, groups: Sequence[PromptGroup]) -> list[SplitOutcome]:
        """Return a split or a rejection for each group, in order; asks for what is missing.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        subjects = [GroupToSplit(self._config, group) for group in groups]
        # Taken out, so that memory is free again for later shards.
        prepared = [self._prepared.pop(subject.name, None) for subject in subjects]
        pairs = zip(subjects, prepared, strict=True)
        asked = iter(self.asker.ask([subject for subject, there in pairs if there is None]))
        return [next(asked) if there is None else there for there in prepared]

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Ask about a whole set, so that `split` finds every answer in the cache.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        current_progress().begin(_STAGE, num_groups)

        def note(subject: Subject[SplitOutcome], outcome: SplitOutcome) -> None:
            assert isinstance(subject, GroupToSplit), "nothing else is asked about"
            if len(self._prepared) < _MAX_PREPARED:
                self._prepared[subject.name] = outcome
            current_progress().advance(_STAGE)

        self.asker.ask_all(
            lambda: (GroupToSplit(self._config, group) for group in read_groups()), num_groups, note
        )


def _judge(
    answer: StoredAnswer, prompts: Sequence[str], *, needs_instructions: bool
) -> Answer | Rejection | list[str]:
    """Return a usable answer, why there will be none, or what to have repaired."""
    failed = RejectReason.SPLIT_FAILED
    if answer.error is not None:
        return Rejection(failed, f"the API does not take the request: {answer.error}")
    if answer.stop_reason == "refusal":
        return Rejection(failed, f"it refused to answer ({answer.stop_details or 'no reason'})")
    # Before the text is parsed: half an answer is no JSON, and the reason says more than that.
    if answer.stop_reason in ("max_tokens", "model_context_window_exceeded"):
        return [f"the answer broke off after {answer.output_tokens} tokens: be briefer"]
    try:
        parsed = Answer.model_validate_json(answer.text)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        named = [f"{'.'.join(map(str, p['loc'])) or 'answer'}: {p['msg']}" for p in problems]
        return named[:_MAX_PROBLEMS]
    if parsed.flagged:
        return Rejection(RejectReason.UNSAFE, f"flagged: {parsed.flag_reason or 'no reason'}")
    if not parsed.shares_background:
        return Rejection(failed, "the prompts share no background")
    found = find_problems(parsed, prompts, needs_instructions=needs_instructions)
    return found[:_MAX_PROBLEMS] or parsed
