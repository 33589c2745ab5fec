"""The miniature: small FLUX, CLIP and Segment Anything that run anywhere, and prompts for them."""

from pathlib import Path
from typing import Literal


def miniature_folder(part: Literal["flux", "clip", "sam", "classifier", "prompts"]) -> Path:
    """Return the folder of one shipped model, or of the example prompts."""
    here = Path(__file__).parent
    return here / "prompts" if part == "prompts" else here / "weights" / part
