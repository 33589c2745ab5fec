"""How CLIP reads texts, by its tokenizer alone."""

import html
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coupled_core.errors import ModelUnavailableError
from coupled_core.models.files import describe_weights_error
from coupled_core.models.text_reader import TextReader, make_reader
from coupled_core.scoring.model_files import find_clip, find_clip_folder

if TYPE_CHECKING:  # seconds and half a gigabyte, which who only counts tokens does without
    from torch import Tensor

Tokenizer = Callable[[list[str]], "Tensor"]


def load_tokenizer(spec: str) -> Tokenizer:
    """Load the tokenizer of a model without its weights; `spec` is as `find_clip` takes it.

    Raises:
        ModelUnavailableError: unknown name, or its files are neither here nor to be had.
    """
    import open_clip

    name, _ = find_clip(spec)
    try:
        tokenizer: Tokenizer = open_clip.get_tokenizer(name)
    except Exception as exc:  # tokenizers raise plain Exception where a file is damaged
        raise _unloadable(spec, exc) from exc
    return tokenizer


def _unloadable(spec: str, exc: Exception) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"the tokenizer of CLIP model {spec!r} could not be loaded: "
        f"{describe_weights_error(exc)}: check the network, or in a "
        "folder open_clip_config.json, tokenizer.json and tokenizer_config.json"
    )


def make_clip_reader(tokenizer: Any, name: str) -> TextReader:
    """Make a reader of one of open_clip's tokenizers, which wrap others or are OpenAI's own.

    Args:
        tokenizer: It is left as it is.
        name: Whose it is, for people.
    """
    if hasattr(tokenizer, "tokenizer"):
        inner, limit = tokenizer.tokenizer, tokenizer.context_length
        return make_reader(inner, name, limit, tokenizer.clean_fn, in_windows=True)
    return TextReader(
        name,
        tokenizer.context_length,
        # OpenAI's tokenizer encodes without its two marks, begin and end.
        num_marks=2,
        encode=lambda texts: [tokenizer.encode(text) for text in texts],
        in_windows=True,
    )


@lru_cache(maxsize=1)
def load_clip_reader(spec: str) -> TextReader:
    """Do `make_clip_reader` for a model; `spec` is as `find_clip` takes it.

    Raises:
        ModelUnavailableError: as `load_tokenizer`.
    """
    name, folder = f"CLIP {spec} of the scores", find_clip_folder(spec)
    limit = None if folder is None else _find_plain_limit(folder)
    if folder is None or limit is None:
        return make_clip_reader(load_tokenizer(spec), name)
    from transformers import CLIPTokenizer  # what open_clip would load, without torch

    try:
        inner = CLIPTokenizer.from_pretrained(folder)
    except Exception as exc:  # tokenizers raise plain Exception where a file is damaged
        raise _unloadable(spec, exc) from exc
    return make_reader(inner, name, limit, _clean, in_windows=True)


def _find_plain_limit(folder: Path) -> int | None:
    """Return how many tokens a model with CLIP's own tokenizer reads; None: it may have another."""
    try:
        texts = json.loads((folder / "open_clip_config.json").read_bytes())["model_cfg"]["text_cfg"]
        kind = json.loads((folder / "tokenizer_config.json").read_bytes())["tokenizer_class"]
        is_plain = texts.get("hf_tokenizer_name") and not texts.get("tokenizer_kwargs")
        limit = texts["context_length"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # open_clip says what is wrong
    return limit if is_plain and kind == "CLIPTokenizer" and isinstance(limit, int) else None


def _clean(text: str) -> str:
    """Clean a text as open_clip's `HFTokenizer` does by default."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
