"""How a base model reads texts, by its tokenizers alone: no weights are loaded."""

from typing import Any

from coupled_core.errors import ModelUnavailableError
from coupled_core.generation.families.spec import TokenizerSpec
from coupled_core.generation.model_files import find_folder, find_spec_of
from coupled_core.models.text_reader import TextReader, make_reader


def load_text_readers(
    base_model: str, revision: str | None, max_sequence_length: int
) -> tuple[TextReader, ...]:
    """Return what reads the prompts of a base model; the first one directs the images.

    Args:
        base_model: As `find_model_files` takes it.
        revision: Of a hub id.
        max_sequence_length: Tokens that the first one reads.

    Raises:
        ModelUnavailableError: the files of a tokenizer are missing or damaged, or cannot be had.
    """
    import transformers  # seconds, which settings need not wait for

    folder = find_folder(base_model)
    location: dict[str, Any] = (
        {"pretrained_model_name_or_path": base_model, "revision": revision}
        if folder is None
        else {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    )
    found: list[TextReader] = []
    for spec in find_spec_of(base_model, revision).tokenizers:
        try:
            tokenizer_class = getattr(transformers, spec.class_name)
            tokenizer = tokenizer_class.from_pretrained(**location, subfolder=spec.folder)
        except Exception as exc:  # tokenizers raise plain Exception where a file is damaged
            raise ModelUnavailableError(
                f"the {spec.folder} of base model {base_model} does not load: "
                f"{(str(exc) or type(exc).__name__).splitlines()[0]} For a hub model check the "
                "network, its licence and `hf auth login` or HF_TOKEN; for a folder fetch "
                f"the files of {spec.folder}/ again."
            ) from exc
        limit = int(tokenizer.model_max_length) if found else max_sequence_length
        found.append(make_text_reader(tokenizer, spec, base_model, limit))
    return tuple(found)


def make_text_reader(
    tokenizer: Any, spec: TokenizerSpec, base_model: str, limit: int
) -> TextReader:
    """Return what reads prompts with a loaded tokenizer."""
    num_marks = None if spec.chat == "none" else _count_chat_tokens(tokenizer, spec)
    name = f"{spec.name} of {base_model}"
    return make_reader(tokenizer, name, limit, num_marks=num_marks)


def _count_chat_tokens(tokenizer: Any, spec: TokenizerSpec) -> int:
    """Return the tokens of a conversation around an empty prompt, as the pipelines word it."""
    if spec.chat == "qwen3":
        messages = [{"role": "user", "content": ""}]
        options = {"add_generation_prompt": True, "enable_thinking": False}
    else:
        from diffusers.pipelines.flux2.pipeline_flux2 import format_input

        (messages,), options = format_input([""]), {"add_generation_prompt": False}
    # Not by way of words: a tokenizer may set its begin mark before those of the template again.
    tokens = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    return len(tokens)
