import subprocess
import sys
from pathlib import Path

import pytest

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError
from coupled_core.research.methods.registry import METHOD_NAMES, load_methods


def test_methods_come_in_the_order_asked_for_on_one_model(method_model_folder: Path) -> None:
    config = GenerationConfig(base_model=str(method_model_folder), device="cpu")
    loaded = load_methods(["p2p", "random-seed", "coupled"], config)
    assert list(loaded) == ["p2p", "random-seed", "coupled"]
    assert loaded["p2p"].model is loaded["random-seed"].model


def test_an_unknown_name_is_refused_before_anything_loads() -> None:
    message = "unknown method p3p; expected some of coupled, .*latent-pull"
    with pytest.raises(ConfigError, match=message):
        load_methods(["coupled", "p3p"], GenerationConfig(base_model="/nowhere"))


def test_reading_the_names_loads_no_model_code() -> None:
    program = (
        "import sys; from coupled_core.research.methods.registry import METHOD_NAMES; "
        "sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert len(set(METHOD_NAMES)) == len(METHOD_NAMES)
