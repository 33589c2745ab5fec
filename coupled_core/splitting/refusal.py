"""Groups whose prompts say what no image may show: refused before anything is paid for."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from coupled_core.concepts import ConceptList
from coupled_core.config import ContentFilterConfig
from coupled_core.records import PromptGroup, Rejection, RejectReason

Refuse = Callable[[PromptGroup], Rejection | None]


def accept_all(_group: PromptGroup) -> None:
    """Refuse no group."""


def refusal_of(config: ContentFilterConfig) -> Refuse:
    """Return what refuses the groups that a concept list forbids."""
    listed = config.concepts
    if listed is None or not listed.forbidden_words:
        return accept_all
    return lambda group: _refuse(group, listed)


def _refuse(group: PromptGroup, listed: ConceptList) -> Rejection | None:
    pattern = _pattern(listed.forbidden_words)
    texts = (*group.prompts, group.background_prompt or "", *(group.entity_prompts or ()))
    for text in texts:
        if found := pattern.search(_plain(text)):
            words = f"a prompt says {found.group()!r}, which concept list {listed.name} forbids"
            return Rejection(RejectReason.UNSAFE, words)
    return None


@lru_cache(maxsize=8)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    phrases = (r"\s+".join(map(re.escape, _plain(phrase).split())) for phrase in words)
    # Whole words alone: a forbidden "ass" is not in "grass".
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)")


def _plain(text: str) -> str:
    # Full-width and other look-alike forms become plain letters.
    return unicodedata.normalize("NFKC", text).casefold()
