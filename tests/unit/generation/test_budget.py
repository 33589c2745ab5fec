"""What a machine has, and what is suggested there."""

from dataclasses import replace
from pathlib import Path

import pytest

import coupled_core.generation.budget as module
from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError
from coupled_core.generation.budget import Budget, find_budget, find_container_limits
from coupled_core.generation.generator import load_generator
from coupled_core.generation.model_files import KNOWN_MODELS, find_model_files
from coupled_core.generation.provenance import resolve_generation
from coupled_core.schedules.schedule_file import load_shipped_schedule

GIB = 2**30


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_tightest_bound_of_all_groups_above_counts(tmp_path: Path) -> None:
    _write(tmp_path / "cgroup", "0::/jobs/mine\n")
    mount = tmp_path / "mount"
    _write(mount / "memory.max", "max\n")
    _write(mount / "jobs/memory.max", f"{8 * GIB}\n")
    _write(mount / "jobs/mine/memory.max", f"{9 * GIB}\n")
    assert min(find_container_limits(tmp_path / "cgroup", mount)) == 8 * GIB


def test_in_a_container_of_version_1_the_bound_lies_at_the_root_of_the_mount(
    tmp_path: Path,
) -> None:
    _write(tmp_path / "cgroup", "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/\n")
    _write(tmp_path / "mount/memory/memory.limit_in_bytes", f"{4 * GIB}\n")
    assert find_container_limits(tmp_path / "cgroup", tmp_path / "mount") == [4 * GIB]


def test_without_control_groups_there_is_no_bound(tmp_path: Path) -> None:
    assert find_container_limits(tmp_path / "none", tmp_path) == []


def test_a_bound_of_the_container_is_what_a_build_on_the_cpu_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_container_limits", lambda: [GIB // 1024])
    config = GenerationConfig(device="cpu")
    files = find_model_files("miniature", None)
    budget = find_budget(config, resolve_generation(config), files, "cpu")
    with pytest.raises(ConfigError, match=r"of 0\.0 GiB on the device"):
        budget.choose_way("none")


def _suggest(device: str, memory: int, **settings: object) -> str:
    """Return what is said to somebody with so much memory who asks for FLUX.1 [dev]."""
    mini = find_model_files("miniature", None)
    files = replace(
        mini, name="f", folder=None, known=KNOWN_MODELS["black-forest-labs/FLUX.1-dev"],
        transformer=type(mini.transformer)(), decoder_channels=256, size_multiple_px=16,
    )  # fmt: skip
    made = replace(
        resolve_generation(GenerationConfig(device="cpu")),
        width=1024, height=1024, max_sequence_length=512, dtype="bfloat16",
        coupling_mode="log_bias",
    )  # fmt: skip
    config = GenerationConfig.model_validate(settings)
    budget = replace(find_budget(config, made, files, device), memory=memory * GIB, host=64 * GIB)
    with pytest.raises(ConfigError) as failure:
        budget.choose_way("none")
    return str(failure.value).partition("(computed). ")[2]


@pytest.fixture
def _no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_memory", lambda device: 0)


@pytest.mark.usefixtures("_no_card")
def test_only_what_the_device_knows_is_suggested() -> None:
    assert _suggest("cuda", 20) == "This fits: --quantize nf4"
    assert _suggest("mps", 20) == "This fits: --quantize int8 --offload model"
    assert _suggest("mps", 20, transformer="mine.safetensors").endswith("--offload group")
    assert _suggest("cpu", 32) == "This fits: --offload disk"


@pytest.mark.usefixtures("_no_card")
def test_what_cannot_be_compiled_is_not_suggested_to_who_compiles() -> None:
    assert _suggest("cuda", 6) == "This fits: --offload group"
    assert _suggest("cuda", 6, compile=True).startswith("No setting makes it fit")
    assert _suggest("cuda", 32, compile=True) == "This fits: --quantize int8"


def test_another_schedule_is_planned_by_its_own_mode() -> None:
    generator = load_generator(GenerationConfig(device="cpu", coupling_mode="region"))
    other = generator.with_schedule(load_shipped_schedule("miniature", "log_bias"))
    plans = [each._budget.plan_for(None, 2) for each in (generator, other)]
    assert [plan.groups_share_steps for plan in plans if plan] == [False, True]
    assert [plan.kept > 0 for plan in plans if plan] == [True, False]


def test_without_a_plan_nothing_is_bounded() -> None:
    assert Budget().planned_for(resolve_generation(GenerationConfig())).plan_for(None, 2) is None
