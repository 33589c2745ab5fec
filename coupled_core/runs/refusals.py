"""Groups of a run that are refused before anything is paid for: forbidden, or not to be judged."""

from functools import lru_cache

from coupled_core.config import RunConfig
from coupled_core.records import PromptGroup, Rejection, RejectReason
from coupled_core.scoring.clip import Tokenizer, find_alike_texts, load_tokenizer
from coupled_core.splitting.refusal import Refuse, refusal_of


def refusal_for(config: RunConfig) -> Refuse:
    """Return what refuses the groups that a run must not, or could not sensibly, make."""
    refuse_words, clip_model = refusal_of(config.content_filter), config.scoring.clip_model
    return lambda group: refuse_words(group) or _refuse_alike(group, clip_model)


def _refuse_alike(group: PromptGroup, clip_model: str) -> Rejection | None:
    alike = find_alike_texts(group.prompts, _tokenizer(clip_model))
    if alike is None:
        return None
    return Rejection(
        RejectReason.DIFFERENCE_BEYOND_WINDOW,
        f"prompts {alike[0]} and {alike[1]} differ only behind the last token that CLIP model "
        f"{clip_model} reads, so it would score both images against one text: name what differs "
        "earlier, or shorten the prompts",
    )


@lru_cache(maxsize=1)
def _tokenizer(clip_model: str) -> Tokenizer:
    return load_tokenizer(clip_model)
