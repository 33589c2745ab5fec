"""Says why the weights of a model did not load."""

import pickle

WEIGHT_ERRORS = (
    *(RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, EOFError),
    *(ArithmeticError, pickle.UnpicklingError),
)
"""What libraries raise for files that are damaged, another model's, or none at all."""
_NO_TENSORS = ("weights_only", "weights only", "unpickl", "pickle")


def describe_weights_error(error: BaseException) -> str:
    """Return the first line of a library's text, and never its advice to run code from a file."""
    text = str(error).strip()
    if isinstance(error, pickle.UnpicklingError) or any(
        word in text.lower() for word in _NO_TENSORS
    ):
        return "it holds more than tensors, which could run code: get it as safetensors"
    return text.partition("\n")[0] or type(error).__name__
