"""What a search for a schedule is asked to do."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from coupled_core.config import RunConfig, Settings
from coupled_core.records import CouplingMode

ScheduleFamily = Literal["step", "arctan", "sine", "isotonic"]


class OptimizeSettings(Settings, title="Search"):
    """All settings of a search; written out with the schedule."""

    run: RunConfig = RunConfig()
    """Prompts, splitter, base model, scorers, guards; where its data goes plays no part."""
    output: str = "schedule.json"
    """Schedule file to write; the picture and the state of the search go beside it."""
    family: ScheduleFamily = "isotonic"
    """Shape of beta over the noise level. isotonic: a sine first, then free knots from there."""
    coupling_mode: CouplingMode | None = None
    """How background and entity are coupled; a schedule does not carry over to another mode.
    Default: the base model's."""
    budget: int = Field(default=60, ge=1)
    """Candidates in all; more continue a search that ended."""
    num_groups: int | None = Field(default=None, ge=2)
    """Groups of the prompt set to use, half of them for validation. Default: all."""
    num_knots: int = Field(default=8, ge=3, le=64)
    """Knots of a schedule of family isotonic."""
    num_finalists: int = Field(default=6, ge=1)
    """Best candidates to compare again on other noise; 1: the search decides."""
    num_final_noises: int = Field(default=3, ge=1)
    """Noises on which the finalists make each training group."""
    against: str | None = None
    """Schedule file to compare with. Default: the one shipped for the base model and mode."""
    check_steps: tuple[Annotated[int, Field(ge=1)], ...] = (20, 28, 50)
    """Step counts at which to try the result on the validation groups, with commas; empty for
    none."""
    workers: int = Field(default=1, ge=1)
    """Candidates side by side, each in a process with its own models."""

    @field_validator("check_steps")
    @classmethod
    def _drop_repeats(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(given))

    @property
    def state_folder(self) -> Path:
        """The folder that keeps what a later start of the search can use."""
        path = Path(self.output)
        return path.with_name(f"{path.stem}.state")
