"""Groups that are refused before anything is paid for or made, and how the others are read.

Forbidden are groups whose prompts say what no image may show; pointless those whose prompts a
model cannot read or cannot tell apart.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from coupled_core.config import RunConfig
from coupled_core.models.text_reader import TextReader, require_telling
from coupled_core.records import GenerationProvenance, PromptGroup, Rejection
from coupled_core.reservoir import Reservoir
from coupled_core.runs.text_report import TextCount, TextReport
from coupled_core.scoring.model_files import require_scorers
from coupled_core.splitting.refusal import Refuse, refusal_of

NUM_COUNTED = 2000
"""Groups whose tokens are counted, drawn at random; every group is looked at for refusal."""


@dataclass(frozen=True)
class Readers:
    """Who reads the prompts of a run."""

    main: TextReader
    """The text encoder that directs the images."""
    others: tuple[TextReader, ...]
    """The base model's further ones: they give an impression alone, and may read a cut text."""
    judge: TextReader
    """The CLIP model of the scores."""


def refusal_for(config: RunConfig, generation: GenerationProvenance) -> Refuse:
    """Return what refuses the groups that a run must not, or could not sensibly, make.

    Tokenizers are loaded when the first group is asked about.
    """
    refuse_words = refusal_of(config.content_filter)
    # `cache` of a function without arguments: loaded once, and only if words did not refuse
    # already.
    load_readers = cache(lambda: readers_for(config, generation))
    are_prompts_read = generation.entity_text == "full_prompt"
    return lambda group: (
        refuse_words(group) or _find_unreadable(group, load_readers(), are_prompts_read)
    )


def readers_for(config: RunConfig, generation: GenerationProvenance) -> Readers:
    """Return the readers of a run, loaded once; no weights are.

    Raises:
        ModelUnavailableError: a tokenizer is neither here nor to be had, or a scorer is not.
    """
    require_scorers(config.scoring)
    return _load_readers(
        config.generation.base_model,
        generation.base_model_revision,
        generation.max_sequence_length,
        config.scoring.clip_model,
    )


@lru_cache(maxsize=2)
def _load_readers(base_model: str, revision: str, num_tokens: int, clip_model: str) -> Readers:
    from coupled_core.generation.text_readers import load_text_readers
    from coupled_core.scoring.clip_texts import load_clip_reader

    main, *others = map(require_telling, load_text_readers(base_model, revision, num_tokens))
    return Readers(main, tuple(others), require_telling(load_clip_reader(clip_model)))


def _find_unreadable(
    group: PromptGroup, readers: Readers, are_prompts_read: bool
) -> Rejection | None:
    """Ask the tokenizer about what will be read, as far as that is known before the split."""
    read = group.prompts if are_prompts_read else group.entity_prompts or ()
    background = [group.background_prompt] if group.background_prompt else []
    why = readers.main.find_unreadable([*read, *background], len(read))
    return why or readers.judge.find_unreadable(group.prompts)


class TextSurvey:
    """Goes through the groups of a run, and keeps none but a sample of them."""

    def __init__(self, config: RunConfig, generation: GenerationProvenance) -> None:
        self._config, self._generation = config, generation
        self._refuse = refusal_for(config, generation)
        self._sample = Reservoir[PromptGroup](NUM_COUNTED)
        self._num_refused: Counter[str] = Counter()

    def take(self, group: PromptGroup) -> Rejection | None:
        """Count a group; return why it will be refused, or None."""
        self._sample.add(group)
        why = self._refuse(group)
        if why is not None:
            self._num_refused[why.reason.value] += 1
        return why

    def report(self) -> TextReport:
        """Return what was found so far."""
        sample = self._sample
        if not sample.items:
            return TextReport()
        prompts = [prompt for group in sample.items for prompt in group.prompts]
        readers = readers_for(self._config, self._generation)
        return TextReport(
            num_groups=sample.num_seen,
            num_groups_counted=len(sample.items),
            counts=tuple(
                _count(reader, prompts) for reader in (readers.main, *readers.others, readers.judge)
            ),
            num_refused=dict(sorted(self._num_refused.items())),
        )


def _count(reader: TextReader, prompts: Sequence[str]) -> TextCount:
    readings = reader.read(prompts)
    lengths = [len(reading.tokens) for reading in readings]
    return TextCount(
        reader=reader.name,
        limit=reader.limit,
        in_windows=reader.in_windows,
        num_prompts=len(prompts),
        num_longer=sum(length > reader.window for length in lengths),
        longest=max(lengths) + reader.num_marks,
        num_tokens=sum(reading.num_telling for reading in readings),
        num_unknown=sum(reading.num_unknown for reading in readings),
    )
