"""What a device has, and how much at a time a base model may do there."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from coupled_core.config import GenerationConfig, Offload
from coupled_core.errors import ConfigError
from coupled_core.generation.footprint import find_footprint
from coupled_core.generation.memory_plan import (
    COMPILED_WAYS,
    CONTEXT_BYTES,
    PAIR,
    WAYS,
    MemoryPlan,
    plan_memory,
    suggest,
)
from coupled_core.generation.model_files import ModelFiles
from coupled_core.records import GenerationProvenance

_NO_BOUND = 2**16
PlanFor = Callable[[tuple[int, int] | None, int], MemoryPlan | None]
"""Plans images of a size (None: the default), so many a group; None: sizes are unknown."""


@dataclass(frozen=True)
class Budget:
    """Memory of a machine, and what a model with certain settings takes of it."""

    plan_for: PlanFor = lambda *_: None
    memory: int = 0
    """Of the device, in bytes."""
    host: int = 0
    """Main memory."""
    ways: tuple[Offload, ...] = WAYS
    """Those that go with the device and the other settings."""
    quantizations: tuple[str, ...] = ()
    """Those that may be suggested, the one nearer to the original first."""
    way: Callable[[], Offload] = lambda: "none"
    """Where parts are now."""
    plan_with: Callable[[GenerationProvenance], PlanFor] = lambda _: lambda *_: None
    """What `plan_for` is with other settings."""

    def choose_way(self, asked: str) -> Offload:
        """Return where parts are to begin with.

        Raises:
            ConfigError: nothing fits; names what does.
        """
        plan = self.plan_for(None, PAIR)
        if plan is None:
            return next((way for way in WAYS if way == asked), "none")
        for way in self.ways if asked == "auto" else WAYS:
            is_meant = asked in ("auto", way)
            if is_meant and plan.fits(way, self.memory, self.host):
                return way
        raise ConfigError(self._describe_lack(plan, asked))

    def _describe_lack(self, plan: MemoryPlan, asked: str) -> str:
        way = self.ways[-1] if asked == "auto" else next(w for w in WAYS if w == asked)
        phases = plan.phases(way)
        worst = max(phases, key=lambda name: phases[name])
        return (
            f"{worst} would take {write_gib(phases[worst])} of {write_gib(self.memory)} on the "
            f"device, and weights {write_gib(plan.host_bytes(way))} of {write_gib(self.host)} of "
            f"main memory, with --offload {asked} (computed). "
        ) + self._suggest(plan)

    def _suggest(self, plan: MemoryPlan) -> str:
        smaller = {
            f"--quantize {name}": plan.quantized(name)
            for name in self.quantizations
            if plan.may_quantize
        }
        found = suggest({"": plan, **smaller}, self.memory, self.host, self.ways)
        if found is None:
            return "No setting makes it fit: take a smaller --width and --height, or another model"
        return f"This fits: {found}" if found else "Leave out --offload, which fits"

    def most_groups(self, width: int, height: int, num_images: int) -> int | None:
        """Return how many groups fit into a batch; None: unknown."""
        plan = self.plan_for((width, height), num_images)
        return None if plan is None else plan.most_groups(self.way(), self.memory)

    def most_decoded(self, width: int, height: int) -> int:
        """Return how many images may be decoded at once."""
        plan = self.plan_for((width, height), PAIR)
        return _NO_BOUND if plan is None else plan.most_decoded(self.way(), self.memory)

    def placed(self, way: Callable[[], Offload]) -> "Budget":
        """Return the budget of a model that is loaded."""
        return replace(self, way=way)

    def planned_for(self, made: GenerationProvenance) -> "Budget":
        """Return the budget of the same model with other settings, such as another mode."""
        return replace(self, plan_for=self.plan_with(made))


def find_budget(
    config: GenerationConfig,
    made: GenerationProvenance,
    files: ModelFiles,
    device: str,
    beside_bytes: int = 0,
) -> Budget:
    """Return the budget of settings that are resolved.

    Args:
        config: The settings.
        made: What they resolve to.
        files: Of the base model.
        device: As torch names it.
        beside_bytes: What other models take of the device.
    """
    beside = beside_bytes + (CONTEXT_BYTES if device.startswith("cuda") else 0)
    footprint = find_footprint(files, config)

    def plan_with(made: GenerationProvenance) -> PlanFor:
        plan = partial(plan_memory, files, footprint, made, beside=beside)
        return lambda size_px, num_images: plan(size_px=size_px, num_images=num_images)

    return Budget(
        plan_with(made),
        find_memory(device),
        find_memory("cpu"),
        _find_ways(config, device),
        _find_quantizations(config, device),
        plan_with=plan_with,
    )


def _find_ways(config: GenerationConfig, device: str) -> tuple[Offload, ...]:
    ways: tuple[Offload, ...] = ("none", "disk") if device.startswith("cpu") else WAYS
    return tuple(way for way in ways if not config.compile or way in COMPILED_WAYS)


def _find_quantizations(config: GenerationConfig, device: str) -> tuple[str, ...]:
    if device.startswith("cpu") or config.transformer is not None:
        return ()
    return ("int8", "nf4") if device.startswith("cuda") else ("int8",)


def find_memory(device: str) -> int:
    """Return the memory of a device in bytes; the main memory where it has none of its own."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    built_in = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(built_in, *find_container_limits())


def find_container_limits(
    groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> list[int]:
    """Return the bounds that control groups, of either version, put on this process, in bytes.

    Args:
        groups: Names the groups of the process, see cgroups(7).
        mount: Where their files are.
    """
    limits: list[int] = []
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            folder, file = mount, "memory.max"
        elif "memory" in controllers.split(","):
            folder, file = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        # A bound holds for all groups below it. In a container the group's name may be that of the
        # host, whose folders are not there, and the mount is the container's own.
        group = PurePosixPath(name.lstrip("/"))
        for place in (group, *group.parents):
            path = folder / place / file
            bound = path.read_text().strip() if path.is_file() else ""
            limits += [int(bound)] if bound.isdigit() else []  # "max": there is none
    return limits


def write_gib(size: int) -> str:
    """Return a size in GiB."""
    return f"{size / 2**30:.1f} GiB"


NO_LIMIT = Budget()
