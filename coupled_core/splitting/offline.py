"""The splitter that needs no key and no network: it aligns the prompts of a group."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from coupled_core.config import fingerprint
from coupled_core.records import GroupSplit, PromptGroup, Rejection, RejectReason, SplitOutcome
from coupled_core.splitting.instructions import INSTRUCTIONS_VERSION, write_instructions
from coupled_core.splitting.phrases import Surroundings, find_scene
from coupled_core.splitting.split_checks import find_problem
from coupled_core.splitting.split_text import Segment, write_background, write_entity
from coupled_core.splitting.words import (
    BREAKS,
    LOCATIVES,
    POSITIONS,
    Token,
    find_media_lead,
    is_content,
    is_english,
    tokenise,
)


@dataclass(frozen=True)
class Run:
    """A stretch of words that stands in every sequence."""

    starts: tuple[int, ...]
    """Where it begins, a sequence each."""
    length: int


def find_common_runs(sequences: Sequence[Sequence[str]]) -> list[Run]:
    """Tile the sequences greedily with the longest runs that all of them share, longest first.

    No word is used twice. Order does not matter, so a background that leads one prompt and trails
    another is found (Wise 1993, greedy string tiling, over N sequences).
    """
    free = [[True] * len(sequence) for sequence in sequences]
    runs: list[Run] = []
    while (run := _find_longest(sequences, free)) is not None:
        runs.append(run)
        for start, flags in zip(run.starts, free, strict=True):
            flags[start : start + run.length] = [False] * run.length
    return runs


def _find_longest(sequences: Sequence[Sequence[str]], free: Sequence[Sequence[bool]]) -> Run | None:
    """Search by length: where a run of n words is shared, so is one of n - 1."""
    low, high, best = 1, min(len(sequence) for sequence in sequences), None
    while low <= high:
        length = (low + high) // 2
        starts = _find_shared(sequences, free, length)
        if starts is None:
            high = length - 1
        else:
            best, low = Run(starts, length), length + 1
    return best


def _find_shared(
    sequences: Sequence[Sequence[str]], free: Sequence[Sequence[bool]], length: int
) -> tuple[int, ...] | None:
    windows = [_windows(s, f, length) for s, f in zip(sequences, free, strict=True)]
    for window in windows[0]:
        if all(window in other for other in windows[1:]):
            return tuple(other[window] for other in windows)
    return None


def _windows(
    sequence: Sequence[str], free: Sequence[bool], length: int
) -> dict[tuple[str, ...], int]:
    """Return every free window of a length with its first start."""
    found: dict[tuple[str, ...], int] = {}
    for start in range(len(sequence) - length + 1):
        if all(free[start : start + length]):
            found.setdefault(tuple(sequence[start : start + length]), start)
    return found


ALIGNMENT_VERSION = "2"
PROMPT_VERSION = f"alignment-{ALIGNMENT_VERSION}+instructions-{INSTRUCTIONS_VERSION}"


@dataclass(frozen=True)
class _Prompts:
    """The prompts of a group as tokens, without an announcement that all of them share."""

    lead: tuple[Token, ...]
    """As in "A watercolor painting of"; empty where there is none."""
    bodies: tuple[tuple[Token, ...], ...]


class OfflineSplitter:
    """Splits what follows the usual pattern: an entity, what it does, and a scene in common words.

    Words that all prompts of a group share, and that form a phrase about a place or a light, become
    the background; the rest of each prompt is its entity. A group that does not fit is rejected,
    not guessed.
    """

    identity = f"offline/{PROMPT_VERSION}"

    def request_sha256(self, group: PromptGroup) -> str:
        """Return the hash of everything that a split of this group depends on."""
        return fingerprint(
            {
                "splitter": self.identity,
                "prompts": list(group.prompts),
                "variation_kind": group.variation_kind,
            }
        )

    def split(self, groups: Sequence[PromptGroup]) -> list[SplitOutcome]:
        """Return a split or a rejection for each group, in order."""
        return [self._split_group(group) for group in groups]

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Do nothing: a group is split in no time."""

    def _split_group(self, group: PromptGroup) -> SplitOutcome:
        result = separate(group.prompts)
        if isinstance(result, Rejection):
            return result
        background_prompt, entity_prompts = result
        edit_instructions, kind = write_instructions(entity_prompts)
        return GroupSplit(
            background_prompt=background_prompt,
            entity_prompts=entity_prompts,
            edit_instructions=edit_instructions,
            variation_kind=group.variation_kind or kind,
            source="offline",
            request_sha256=self.request_sha256(group),
            prompt_version=PROMPT_VERSION,
        )


def separate(prompts: Sequence[str]) -> tuple[str, tuple[str, ...]] | Rejection:
    """Return the background prompt and one entity prompt for each prompt, or why there are none."""
    foreign = next((i for i, prompt in enumerate(prompts) if not is_english(prompt)), None)
    if foreign is not None:
        return _reject(f"prompt {foreign} does not read as English, the only language it knows")
    tokenised = _tokenise_all(prompts)
    keys = [[token.key for token in body] for body in tokenised.bodies]
    if not all(keys):
        return _reject("a prompt has no words")
    runs = find_common_runs(keys)
    segments = [segment for run in runs if (segment := _find_segment(keys, run)) is not None]
    if not segments:
        return _reject(_explain_no_background(keys, runs))
    segments.sort(key=lambda segment: segment.starts[0])
    background = write_background(tokenised.bodies[0], segments, tokenised.lead)
    entities = tuple(
        write_entity(body, [(s.starts[i], s.length) for s in segments], tokenised.lead)
        for i, body in enumerate(tokenised.bodies)
    )
    problem = find_problem(background, entities)
    return (background, entities) if problem is None else _reject(problem)


def _tokenise_all(prompts: Sequence[str]) -> _Prompts:
    bodies = [tuple(tokenise(prompt)) for prompt in prompts]
    length = find_media_lead(bodies[0])
    leads = {tuple(token.key for token in body[:length]) for body in bodies}
    if len(leads) > 1 or length == 0:
        return _Prompts((), tuple(bodies))
    return _Prompts(bodies[0][:length], tuple(body[length:] for body in bodies))


def _find_segment(keys: Sequence[Sequence[str]], run: Run) -> Segment | None:
    ends = [start + run.length for start in run.starts]
    before = [k[start - 1] if start else None for k, start in zip(keys, run.starts, strict=True)]
    after = [k[end] if end < len(k) else None for k, end in zip(keys, ends, strict=True)]
    beside = Surroundings(
        is_lead=0 in run.starts,
        is_open_left=any(key is not None and key not in BREAKS for key in before),
        is_open_right=any(key is not None and key not in BREAKS for key in after),
        follows_preposition=all(key in LOCATIVES or key == "from" for key in before),
        follows_position=all(key in POSITIONS for key in before),
    )
    scene = find_scene(keys[0][run.starts[0] : ends[0]], beside)
    if scene is None:
        return None
    return Segment(tuple(start + scene[0] for start in run.starts), scene[1] - scene[0])


def _explain_no_background(keys: Sequence[Sequence[str]], runs: Sequence[Run]) -> str:
    shared = [keys[0][run.starts[0] : run.starts[0] + run.length] for run in runs]
    named = [" ".join(words) for words in shared if any(is_content(word) for word in words)]
    if not named:
        return "the prompts have no words in common that describe anything"
    listed = ", ".join(repr(words) for words in named[:3])
    return (
        f"the prompts share only {listed}, which does not read as a background; "
        "word the place alike in every prompt, or give background_prompt and entity_prompts"
    )


def _reject(message: str) -> Rejection:
    return Rejection(RejectReason.SPLIT_FAILED, f"cannot be split offline: {message}")
