"""What the stored answers about a group amount to: a split, a rejection, or one more question."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from coupled_core.config import SplitConfig
from coupled_core.records import GroupSplit, PromptGroup, Rejection, RejectReason
from coupled_core.splitting.llm.answers import AnswerCache, StoredAnswer
from coupled_core.splitting.llm.checks import find_problems, take_instructions
from coupled_core.splitting.llm.request import (
    Answer,
    LlmRequest,
    build_repair,
    build_request,
    request_sha256,
)

_MAX_ATTEMPTS = 2
_MAX_REASON_CHARS = 300
_MAX_PROBLEMS = 8

Verdict = GroupSplit | Rejection | LlmRequest


@dataclass(frozen=True)
class Judge:
    """Reads answers of one cache on behalf of one account."""

    config: SplitConfig
    cache: AnswerCache
    account: str

    def judge(self, group: PromptGroup) -> Verdict:
        """Return the outcome for a group, or the request that is still to be made."""
        sha256 = request_sha256(self.config, group)
        answers: list[StoredAnswer] = []
        problems: list[str] = []
        request = build_request(self.config, group)
        for attempt in range(_MAX_ATTEMPTS):
            answer = self.cache.read(sha256, attempt)
            if answer is None:
                return request
            answers.append(answer)
            is_last = attempt == _MAX_ATTEMPTS - 1
            result = _read_answer(answer, group.prompts, needs_instructions=not is_last)
            if isinstance(result, Answer):
                return self._split(group, result, answers)
            if isinstance(result, Rejection):
                return self._rejection(group, result.reason, result.message, answers)
            problems = result
            request = build_repair(self.config, group, answer.text, problems)
        why = f"the answer was wrong, and again after it was told why: {'; '.join(problems)}"
        return self._rejection(group, RejectReason.SPLIT_FAILED, why, answers)

    def _split(
        self, group: PromptGroup, answer: Answer, answers: Sequence[StoredAnswer]
    ) -> GroupSplit:
        paid = self._paid(group, answers)
        return GroupSplit(
            background_prompt=answer.background_prompt.strip(),
            entity_prompts=tuple(entity.strip() for entity in answer.entity_prompts),
            edit_instructions=take_instructions(answer, group.prompts),
            variation_kind=group.variation_kind or answer.variation_kind,
            source=paid[-1].transport if paid else "cache",
            request_sha256=request_sha256(self.config, group),
            model=answers[-1].model,
            prompt_version=answers[-1].instruction_version,
            llm_cost_usd=sum(answer.cost_usd for answer in paid),
        )

    def _rejection(
        self, group: PromptGroup, reason: RejectReason, why: str, answers: Sequence[StoredAnswer]
    ) -> Rejection:
        cost = sum(answer.cost_usd for answer in self._paid(group, answers))
        return Rejection(reason, one_line(f"{self.config.model}: {why}"), cost)

    def _paid(self, group: PromptGroup, answers: Sequence[StoredAnswer]) -> list[StoredAnswer]:
        """Return the answers that this account bought for this group; others came for free."""
        mine = (self.account, group.group_id)
        return [answer for answer in answers if (answer.account, answer.group_id) == mine]


def one_line(text: str) -> str:
    """Return a model's or an API's words fit for a message: one line, printable, not long."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= _MAX_REASON_CHARS else plain[: _MAX_REASON_CHARS - 1] + "…"


def _read_answer(
    answer: StoredAnswer, prompts: Sequence[str], *, needs_instructions: bool
) -> Answer | Rejection | list[str]:
    """Return a usable answer, why there will be none, or what to have repaired."""
    failed = RejectReason.SPLIT_FAILED
    if answer.error is not None:
        return Rejection(failed, f"the API does not take the request: {answer.error}")
    if answer.stop_reason == "refusal":
        return Rejection(failed, f"it refused to answer ({answer.stop_details or 'no reason'})")
    if answer.stop_reason in ("max_tokens", "model_context_window_exceeded"):
        return [f"the answer broke off after {answer.output_tokens} tokens: be briefer"]
    try:
        parsed = Answer.model_validate_json(answer.text)
    except ValidationError as error:
        return _describe_parse_errors(error)
    if parsed.flagged:
        return Rejection(RejectReason.UNSAFE, f"flagged: {parsed.flag_reason or 'no reason'}")
    if not parsed.shares_background:
        return Rejection(failed, "the prompts share no background")
    problems = find_problems(parsed, prompts, needs_instructions=needs_instructions)
    return problems[:_MAX_PROBLEMS] or parsed


def _describe_parse_errors(error: ValidationError) -> list[str]:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    described = [f"{'.'.join(map(str, p['loc'])) or 'answer'}: {p['msg']}" for p in problems]
    return described[:_MAX_PROBLEMS]
