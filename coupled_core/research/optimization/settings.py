"""What a search for a schedule is asked to do."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from coupled_core.config import CouplingMode, RunConfig

Family = Literal["step", "arctan", "sine", "isotonic"]


class OptimizeSettings(BaseModel):
    """All settings of a search; written out with the schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunConfig = RunConfig()
    """Prompts, splitter, base model, scorers, guards; where its data goes plays no part."""
    output: str = "schedule.json"
    """Schedule file; the picture and the state of the search lie beside it."""
    family: Family = "isotonic"
    """isotonic: a sine first, then free values on knots from there."""
    mode: CouplingMode | None = None
    """None: the base model's default."""
    budget: int = Field(default=60, ge=1)
    """Candidates in all."""
    num_groups: int | None = Field(default=None, ge=2)
    """Groups to use, half of them for validation; None: all."""
    num_knots: int = Field(default=8, ge=3, le=64)
    """Knots that family isotonic moves."""
    num_finalists: int = Field(default=6, ge=1)
    """Candidates that are compared again on other noise; 1: the search alone decides."""
    num_final_noises: int = Field(default=3, ge=1)
    """Noises on which the finalists make each training group."""
    against: str | None = None
    """Schedule file to be compared with; None: the one shipped for the base model and mode."""
    check_steps: tuple[int, ...] = (20, 28, 50)
    """Step counts at which the result is tried on the validation groups."""
    workers: int = Field(default=1, ge=1)
    """Candidates evaluated side by side."""

    @property
    def state_folder(self) -> Path:
        """The folder that keeps what a later start of the search can use."""
        path = Path(self.output)
        return path.with_name(f"{path.stem}.state")
