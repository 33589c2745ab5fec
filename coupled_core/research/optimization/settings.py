"""What a search for a schedule is asked to do."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from coupled_core.config import RunConfig, Settings
from coupled_core.records import CouplingMode

ScheduleFamily = Literal["step", "arctan", "sine", "isotonic"]
Objective = Literal["combined", "background_similarity_clear"]


class OptimizeSettings(Settings, title="Search"):
    """All settings of a search; written out with the schedule."""

    run: RunConfig = RunConfig()
    """Prompts, splitter, base model, scorers, guards; where its data goes plays no part."""
    output: str = "schedule.json"
    """Schedule file to write; report, picture and the state of the search go beside it."""
    coupling_mode: CouplingMode | None = None
    """How background and entity are coupled; a schedule does not carry over to another mode.
    Default: the base model's."""
    family: ScheduleFamily | None = None
    """Shape of beta over the noise level. Default: isotonic; in mode region the region alone is
    searched, and beta stays as it is."""
    num_knots: int = Field(default=8, ge=3, le=64)
    """Knots of a schedule of family isotonic."""
    objective: Objective = "combined"
    """What has to rise: combined (J), or the background's similarity clear of the masks. Whatever
    else is measured must not fall."""
    spread: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of each knob's range that candidates are drawn from, around the schedule in use."""
    num_candidates: int = Field(default=24, ge=2)
    """Candidates in the first round; more continue a search that ended."""
    first_groups: int = Field(default=12, ge=1)
    """Groups of the first round; each later round has twice as many, for half the candidates."""
    num_finalists: int = Field(default=2, ge=1)
    """Candidates that are compared with the schedule in use on groups of the other half."""
    num_final_groups: int | None = Field(default=None, ge=2)
    """Groups of the finals; on fewer than 8 nobody wins. Default: all that are not raced on, about
    half of the prompt set."""
    against: str | None = None
    """Schedule file to beat. Default: the one shipped for the base model and mode."""
    check_steps: tuple[Annotated[int, Field(ge=1)], ...] = (20, 28, 50)
    """Step counts at which to try the winner on the groups of the finals, with commas; empty for
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
