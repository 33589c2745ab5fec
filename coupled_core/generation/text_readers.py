"""How a base model reads texts, by its tokenizers alone: no weights are loaded."""

from typing import Any

from coupled_core.errors import ModelUnavailableError
from coupled_core.generation.model_files import find_folder
from coupled_core.reading import TextReader, make_reader


def load_text_readers(
    base_model: str, revision: str | None, max_sequence_length: int
) -> tuple[TextReader, TextReader]:
    """Return what reads the prompts of a base model: T5, which directs the images, and CLIP.

    Args:
        base_model: As `find_model_files` takes it.
        revision: Of a hub id.
        max_sequence_length: Tokens that T5 reads.

    Raises:
        ModelUnavailableError: the files of a tokenizer are missing or damaged, or cannot be had.
    """
    from transformers import CLIPTokenizer, T5Tokenizer  # seconds, which settings need not wait for

    folder = find_folder(base_model)
    location: dict[str, Any] = (
        {"pretrained_model_name_or_path": base_model, "revision": revision}
        if folder is None
        else {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    )
    found = []
    for tokenizer_class, subfolder in ((T5Tokenizer, "tokenizer_2"), (CLIPTokenizer, "tokenizer")):
        try:
            found.append(tokenizer_class.from_pretrained(**location, subfolder=subfolder))
        except Exception as exc:  # tokenizers raise plain Exception where a file is damaged
            raise ModelUnavailableError(
                f"the {subfolder} of base model {base_model} does not load: "
                f"{(str(exc) or type(exc).__name__).splitlines()[0]} For a hub model check the "
                "network, its licence and `hf auth login` or HF_TOKEN; for a folder fetch "
                f"the files of {subfolder}/ again."
            ) from exc
    t5, clip = found
    return (
        make_reader(t5, f"T5 of {base_model}", max_sequence_length),
        make_reader(clip, f"CLIP of {base_model}", int(clip.model_max_length)),
    )
