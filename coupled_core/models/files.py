"""Whether the files of a model are there and whole, and why its weights did not load."""

import pickle
from collections.abc import Iterable
from pathlib import Path

from coupled_core.documents import parse_json, read_file
from coupled_core.errors import ModelUnavailableError

WEIGHT_ERRORS = (
    *(RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, EOFError),
    *(ArithmeticError, pickle.UnpicklingError),
)
"""What libraries raise for files that are damaged, another model's, or none at all."""
_NO_TENSORS = ("weights_only", "weights only", "unpickl", "pickle")


def require_files(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which a file is missing, empty or cut off.

    A library that finds no weights may begin with random ones, and says nothing.

    Args:
        folder: Of the model.
        names: Of files below it; `*` stands for anything, and one file that matches will do.

    Raises:
        ModelUnavailableError: naming the first file that is not as it should be.
    """
    for name in names:
        found = sorted(folder.glob(name))
        if not found:
            raise ModelUnavailableError(
                f"{folder / name} is missing: fetch the model again, or copy the file from where "
                "the folder was made"
            )
        for path in found:
            _require_whole(path)


def _require_whole(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".json":
            parse_json(read_file(path))
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np"):  # reads the header, and compares it with the size
                pass
        elif not path.stat().st_size:
            raise ValueError("it is empty")
    except (OSError, ValueError, SafetensorError) as exc:
        raise ModelUnavailableError(
            f"{path} is damaged ({exc}): fetch the model again, or copy the file from where the "
            "folder was made"
        ) from exc


def describe_weights_error(error: BaseException) -> str:
    """Return the first line of a library's text, and never its advice to run code from a file."""
    text = str(error).strip()
    if isinstance(error, pickle.UnpicklingError) or any(
        word in text.lower() for word in _NO_TENSORS
    ):
        return "it holds more than tensors, which could run code: get it as safetensors"
    return text.partition("\n")[0] or type(error).__name__
