"""What a comparison is asked to do."""

import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from coupled_core.config import PromptSetConfig, RunConfig

OURS = "coupled"
"""What a build does by default; every difference is taken to it."""


class CompareSettings(BaseModel):
    """All settings of a comparison; written out with its results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunConfig = RunConfig(prompts=PromptSetConfig(uri="miniature-test"))
    """Held-out prompts, splitter, base model, scorers, guards; its output plays no part."""
    methods: tuple[str, ...]
    """Names of `methods.registry`; `OURS` is among them."""
    output: str = "comparison"
    """Folder of results, pictures and finished work."""
    num_groups: int | None = Field(default=None, ge=1)
    """Groups to compare on; None: all."""
    train_prompts: str = "miniature-train"
    """Prompt set on which each method's knobs are found."""
    num_train_groups: int = Field(default=24, ge=1)
    sweep_budget: int = Field(default=24, ge=1)
    """Candidates a method, its defaults among them; 1: the defaults."""
    sweep_seed: int = 0
    trade_off: bool = False
    """Follow each method along its main knob."""
    num_trade_off_points: int = Field(default=6, ge=2)
    ablations: bool = False
    """Take ours apart."""
    num_extra_groups: int = Field(default=48, ge=1)
    """Groups, the first of those compared on, for each point of a curve and each ablation."""
    num_picture_rows: int = Field(default=8, ge=0)
    """Pairs, the first ones, whose images are kept and shown."""
    chunk_size: int = Field(default=16, ge=1)
    """Groups evaluated between two saves: the most that a kill costs."""

    @property
    def folder(self) -> Path:
        """The folder of everything that the comparison writes."""
        return Path(self.output)

    @property
    def command(self) -> str:
        """The command line that does the same, where no file of settings was read."""
        generation, scoring = self.run.generation, self.run.scoring
        options = {
            "prompts": self.run.prompts.uri,
            "methods": ",".join(self.methods),
            "groups": self.num_groups,
            "train-prompts": self.train_prompts,
            "train-groups": self.num_train_groups,
            "sweep-budget": self.sweep_budget,
            "trade-off-points": self.num_trade_off_points if self.trade_off else None,
            "extra-groups": self.num_extra_groups,
            "base-model": generation.base_model,
            "revision": generation.revision,
            "schedule": generation.schedule,
            "steps": generation.num_inference_steps,
            "width": generation.width,
            "height": generation.height,
            "sam-model": scoring.sam_model,
            "clip-model": scoring.clip_model,
            "output": self.output,
        }
        words = ["coupled", "compare", *["--trade-off"] * self.trade_off]
        words += ["--ablations"] * self.ablations
        for name, value in options.items():
            words += [f"--{name}", str(value)] if value is not None else []
        return shlex.join(words)
