"""`coupled validate`: what is in a prompt set, and how the models of a build would read it."""

from dataclasses import asdict
from typing import Annotated, Any

from coupled_core.config import PromptSetConfig, RunConfig
from flows.cli.command import argument, command, option
from flows.cli.labelled_lines import count_of
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

_READS_PROMPTS = (
    *("generation.base_model", "generation.revision", "generation.max_sequence_length"),
    *("generation.entity_text", "scoring", "content_filter"),
)
"""Settings that say which models read the prompts, and which words they must not hold."""


@command(
    examples="""
    coupled validate prompts.parquet
    coupled validate prompts.csv --profile flux-schnell
    """
)
def validate(
    terminal: Terminal,
    config: Annotated[
        RunConfig, Offer(only=("prompts", *_READS_PROMPTS), without=("prompts.uri",))
    ],
    prompts: Annotated[list[str] | None, argument("PROMPTS", "As --prompts.")] = None,
    more: Annotated[
        list[str] | None,
        option("Prompt set, as in `coupled build`; several add up.", "--prompts", metavar="<str>"),
    ] = None,
) -> None:
    """Check a prompt set and say what is in it; unusable rows are named by file, row and value.

    Says as well what the models of a build with these options would cut or not know of the
    prompts, by their tokenizers, and which groups would be refused for it.
    """
    from coupled_core.prompts.columns import describe_unknown
    from coupled_core.prompts.prompt_set import check_prompt_set, unknown_columns_of

    where = config.prompts
    if given := [*(prompts or ()), *(more or ())]:
        where = PromptSetConfig.model_validate({**where.model_dump(), "uri": given})
    summary = check_prompt_set(where)
    text = (
        f"{where.label}: {count_of(summary.num_groups, 'group')}, "
        f"{count_of(summary.num_prompts, 'prompt')}, "
        f"{count_of(summary.num_quarantined, 'unusable row')}, "
        f"{count_of(len(summary.files), 'file')}"
    )
    unknown = unknown_columns_of(summary.files)
    lines = [text, describe_unknown(unknown)] if unknown else [text]
    described, texts = _survey_texts(config.model_copy(update={"prompts": where}))
    document = {
        **asdict(summary),
        "unknown_columns": [asdict(column) for column in unknown],
        "texts": texts,
    }
    terminal.answer("\n".join([*lines, *described]), document)


def _survey_texts(config: RunConfig) -> tuple[list[str], dict[str, Any] | None]:
    """Return how models would read a valid prompt set, in lines and as plain values.

    None: a model is not to be had. That says nothing about the prompts, so it is no failure here.
    """
    from coupled_core.errors import ModelUnavailableError
    from coupled_core.prompts.prompt_set import read_prompt_set
    from coupled_core.records import PromptGroup
    from coupled_core.runs.models import generation_of
    from coupled_core.runs.refusals import TextSurvey
    from coupled_core.runs.text_report import describe_readers, describe_refused

    try:
        survey = TextSurvey(config, generation_of(config.generation))
        for item in read_prompt_set(config.prompts):
            if isinstance(item, PromptGroup):
                survey.take(item)
        report = survey.report()
    except ModelUnavailableError as error:
        return [f"not counted what models read of the prompts: {error}"], None
    refused = describe_refused(report)
    return [*describe_readers(report), *([refused] if refused else [])], asdict(report)
