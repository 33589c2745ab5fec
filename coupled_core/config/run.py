"""All settings of a run."""

from pydantic import model_validator

from coupled_core.concepts import SHIPPED
from coupled_core.config.base import Settings
from coupled_core.config.stages import (
    ContentFilterConfig,
    DuplicatesConfig,
    FilterConfig,
    GenerationConfig,
    OutputConfig,
    PromptSetConfig,
    ScoringConfig,
    SelectionConfig,
    SplitConfig,
)
from coupled_core.filters import list_filters


class RunSettings(Settings):
    """All settings of a run as they are given: what follows from others is "auto" or None."""

    prompts: PromptSetConfig = PromptSetConfig()
    split: SplitConfig = SplitConfig()
    generation: GenerationConfig = GenerationConfig()
    scoring: ScoringConfig = ScoringConfig()
    filter: FilterConfig = FilterConfig()
    selection: SelectionConfig = SelectionConfig()
    content_filter: ContentFilterConfig = ContentFilterConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    output: OutputConfig = OutputConfig()


class RunConfig(RunSettings):
    """All settings of a run as they are used; written out with the data."""

    @model_validator(mode="after")
    def _settle_what_depends_on_clip(self) -> "RunConfig":
        """Put values in the place of "auto" and None where the CLIP model decides.

        Nothing asks whether a setting was given: a form that is submitted unchanged sends every
        default, and means what a command line without options means.
        """
        is_miniature = self.scoring.clip_model == "miniature"
        bounds = {
            each.setting: each.miniature_default if is_miniature else each.default
            for each in list_filters()
            if getattr(self.filter, each.setting) is None
        }
        settled: dict[str, Settings] = {"filter": self.filter.model_copy(update=bounds)}
        if self.content_filter.concept_list == "auto":
            fitting = None if is_miniature else SHIPPED
            settled["content_filter"] = ContentFilterConfig(concept_list=fitting)
        for name, value in settled.items():
            object.__setattr__(self, name, value)  # the model is frozen only once it is made
        return self
