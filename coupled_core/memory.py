"""Tells a lack of memory from other failures, whichever library ran out of it."""

_SIGNS = (
    "can't allocate memory",  # torch on the CPU
    "cannot allocate memory",  # the operating system
    "failed to map segment",  # the loader of a library
    "out of memory",  # torch on CUDA and MPS, where it has no class of its own
    "alloc_failed",  # cuBLAS and cuDNN
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory, of this machine or of its GPU, did not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError | OSError) and any(
        sign in text for sign in _SIGNS
    )
