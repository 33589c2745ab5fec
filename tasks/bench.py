"""What the trials of this process run on, loaded once, however many there are."""

import threading
from functools import lru_cache

from coupled_core.optimization.bench import load_bench
from coupled_core.optimization.settings import OptimizeSettings
from coupled_core.optimization.trial import Bench

_loading = threading.Lock()


def bench_for(settings: OptimizeSettings) -> Bench:
    """Return models and samples."""
    with _loading:
        return _bench(settings.model_dump_json())


@lru_cache(maxsize=1)
def _bench(settings: str) -> Bench:
    """Take settings as JSON: some of them are mappings, which have no hash."""
    return load_bench(OptimizeSettings.model_validate_json(settings))
