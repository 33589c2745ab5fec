"""Settings of a run: one frozen class a stage under one `RunConfig`; secrets never live here.

Each setting is declared here and nowhere else. The command line makes its options, environment
variables and keys of a settings file from these fields, and shows the text under a field as the
option's help. So that text is for users: what the value does, its unit, and, where the field's own
default does not say it, the default in words after "Default:", at the end.
"""

from coupled_core.config.base import (
    Settings,
    fingerprint,
    hash_canonical,
    quote,
)
from coupled_core.config.dataset import (
    ExportSettings,
    Retention,
)
from coupled_core.config.execution import (
    BackfillSettings,
    ExecutionConfig,
    Runner,
)
from coupled_core.config.language_model import (
    DEFAULT_PRICES,
    THINKING,
    LlmConfig,
    ModelPrice,
    Thinking,
)
from coupled_core.config.run import (
    RunConfig,
    RunSettings,
)
from coupled_core.config.stages import (
    MAX_SIDE_PX,
    QUANTIZATIONS,
    SPLITTERS,
    ContentFilterConfig,
    DuplicatesConfig,
    FilterConfig,
    GenerationConfig,
    Offload,
    OutputConfig,
    PromptSetConfig,
    ScoringConfig,
    SelectionConfig,
    SplitConfig,
)

__all__ = [
    "DEFAULT_PRICES",
    "MAX_SIDE_PX",
    "QUANTIZATIONS",
    "SPLITTERS",
    "THINKING",
    "BackfillSettings",
    "ContentFilterConfig",
    "DuplicatesConfig",
    "ExecutionConfig",
    "ExportSettings",
    "FilterConfig",
    "GenerationConfig",
    "LlmConfig",
    "ModelPrice",
    "Offload",
    "OutputConfig",
    "PromptSetConfig",
    "Retention",
    "RunConfig",
    "RunSettings",
    "Runner",
    "ScoringConfig",
    "SelectionConfig",
    "Settings",
    "SplitConfig",
    "Thinking",
    "fingerprint",
    "hash_canonical",
    "quote",
]
