"""What a comparison is asked to do."""

import shlex
from pathlib import Path

from pydantic import Field, field_validator

from coupled_core.config import PromptSetConfig, RunConfig, Settings

OURS = "coupled"
"""What a build does by default; every difference is taken to it."""
_TEST_SET = "miniature-test"


class CompareSettings(Settings, title="Comparison"):
    """All settings of a comparison; written out with its results."""

    run: RunConfig = RunConfig(prompts=PromptSetConfig(uri=_TEST_SET))
    """Held-out prompts, splitter, base model, scorers, guards; its output plays no part."""
    methods: tuple[str, ...] = Field(default=(), validate_default=True)
    """Methods to compare, with commas; `coupled`, what a build does, is always one. Default:
    all."""
    output: str = "comparison"
    """Folder of results, pictures and finished work."""
    num_groups: int | None = Field(default=None, ge=1)
    """Groups of the prompt set to compare on, from the first. Default: all."""
    train_prompts: str = "miniature-train"
    """Prompt set on which each method's knobs are found."""
    num_train_groups: int = Field(default=24, ge=1)
    """Groups of it, from the first."""
    sweep_budget: int = Field(default=24, ge=1)
    """Candidates a method, its defaults among them; 1: the defaults."""
    sweep_seed: int = 0
    """Seed of the search for knobs."""
    knobs: str | None = None
    """The `comparison.json` of an earlier comparison: its knobs are taken and none are searched;
    what it says of the search wins over other settings."""
    trade_off: bool = False
    """Follow each method along its main knob."""
    num_trade_off_points: int = Field(default=6, ge=2)
    """Points a curve of --trade-off."""
    ablations: bool = False
    """Take the coupled method apart."""
    num_extra_groups: int = Field(default=48, ge=1)
    """Groups, from the first, for each point of a curve and each ablation."""
    num_picture_rows: int = Field(default=8, ge=0)
    """Pairs, from the first, whose images are kept: 6 are shown, and the 6 worst of ours."""
    chunk_size: int = Field(default=16, ge=1)
    """Groups evaluated between two saves: the most that a kill costs."""

    @field_validator("run")
    @classmethod
    def _compare_on_held_out_prompts(cls, run: RunConfig) -> RunConfig:
        if "uri" in run.prompts.model_fields_set:
            return run
        prompts = run.prompts.model_copy(update={"uri": _TEST_SET})
        return run.model_copy(update={"prompts": prompts})

    @field_validator("methods")
    @classmethod
    def _check_methods(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # Every help page imports the settings; the methods themselves would make it slow.
        from coupled_core.research.methods.registry import list_methods

        known = list_methods()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"unknown method {', '.join(map(repr, unknown))}; expected some of "
                f"{', '.join(known)}"
            )
        return tuple(dict.fromkeys((OURS, *(names or known))))

    @property
    def folder(self) -> Path:
        """The folder of everything that the comparison writes."""
        return Path(self.output)

    @property
    def command(self) -> str:
        """The command line that does the same, where no file of settings was read."""
        generation, scoring = self.run.generation, self.run.scoring
        search = {
            "train-prompts": self.train_prompts,
            "num-train-groups": self.num_train_groups,
            "sweep-budget": self.sweep_budget,
        }
        options = {
            "methods": ",".join(self.methods),
            "num-groups": self.num_groups,
            **({"knobs": self.knobs} if self.knobs else search),
            "num-trade-off-points": self.num_trade_off_points if self.trade_off else None,
            "num-extra-groups": self.num_extra_groups,
            "base-model": generation.base_model,
            "revision": generation.revision,
            "schedule": generation.schedule,
            "num-inference-steps": generation.num_inference_steps,
            "width": generation.width,
            "height": generation.height,
            "sam-model": scoring.sam_model,
            "clip-model": scoring.clip_model,
            "scoring-dtype": None if scoring.dtype == "float32" else scoring.dtype,
            "output": self.output,
        }
        words = ["coupled", "compare", *["--trade-off"] * self.trade_off]
        words += ["--ablations"] * self.ablations
        for uri in self.run.prompts.uris:
            words += ["--prompts", uri]
        for name, value in options.items():
            words += [f"--{name}", str(value)] if value is not None else []
        return shlex.join(words)
