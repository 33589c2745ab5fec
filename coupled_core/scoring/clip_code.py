"""CLIP embeddings in 64 bytes, small enough to stand in every manifest row.

The embedding is folded: each coordinate gets a fixed random sign, and coordinates that are 64 apart
are added up (feature hashing: Weinberger et al., "Feature Hashing for Large Scale Multitask
Learning", 2009). That keeps squared distances, on average exactly and within 18 % (one standard
deviation) for embeddings that are much longer than 64; rounding to bytes adds nothing to speak of.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

CODE_LENGTH = 64
"""Bytes of a code. Other codes do not compare: a change here raises `METRIC_VERSION`."""


def encode_embeddings(embeddings: NDArray[np.float32]) -> list[str]:
    """Return the code of each embedding (B, D): signed bytes as 128 hex digits."""
    count, length = embeddings.shape
    width = -(-length // CODE_LENGTH) * CODE_LENGTH
    signed = np.zeros((count, width))
    signed[:, :length] = embeddings * _signs(length)
    folded = signed.reshape(count, -1, CODE_LENGTH).sum(axis=1)
    largest = np.abs(folded).max(axis=1, keepdims=True)
    bytes_ = np.rint(127 * folded / np.where(largest > 0, largest, 1)).astype(np.int8)
    return [row.tobytes().hex() for row in bytes_]


def _signs(length: int) -> NDArray[np.float64]:
    """Return +1 and -1, the same on every machine and with every version of NumPy."""
    digest = hashlib.shake_256(b"clip code").digest(-(-length // 8))
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[:length]
    return np.where(bits == 0, 1.0, -1.0)
