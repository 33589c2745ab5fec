"""Methods that draw their images with the miniature's renderer: real pictures, no model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from coupled_core.config import FilterConfig, PromptSetConfig, RunConfig, ScoringConfig
from coupled_core.records import Rejection, Sample
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import AIRBORNE, NUM_LAYOUT, Scene
from coupled_core.research.evaluation.pairs import Evaluator
from coupled_core.research.evaluation.samples import build_samples, take_groups
from coupled_core.research.methods.method import Knob, Knobs, MethodOutput
from coupled_core.scoring.pair_scorer import load_scorer

DRIFT = Knob("drift", 0.0, 1.0, 0.5, meaning="how far the second background is off")


def read_samples(num_groups: int) -> list[Sample]:
    """Return the first groups of the package's test set."""
    config = RunConfig(prompts=PromptSetConfig(uri="miniature-test"))
    return take_groups(build_samples("miniature-test", config), num_groups)


def load_evaluator() -> Evaluator:
    """Return the miniature's scorers behind the guards of a build."""
    return Evaluator(load_scorer(ScoringConfig(), "cpu"), FilterConfig(), batch_size=2)


def scenes_of(sample: Sample, drift: float = 0.0) -> tuple[Scene, Scene]:
    """Return what a sample's prompts ask for, the second background moved by `drift`."""
    _, _, place, light, *things = sample.group.group_id.split("-")
    scenes = []
    for index, (colour, entity) in enumerate((things[:2], things[2:])):
        layout = (index * drift,) * NUM_LAYOUT
        scenes.append(
            Scene(place, light, layout, 3, entity, colour, centre_x=0.3 + 0.4 * index,
                  centre_y=0.35 if entity in AIRBORNE else 0.65, area=0.09)
        )  # fmt: skip
    return scenes[0], scenes[1]


def draw(*scenes: Scene) -> tuple[np.ndarray, ...]:
    """Return pictures, uint8 (64, 64, 3)."""
    return tuple(draw_scene(scene)[0] for scene in scenes)


def draw_honestly(sample: Sample, drift: float) -> tuple[np.ndarray, ...]:
    """Draw what the prompts ask for."""
    return draw(*scenes_of(sample, drift))


def leave_entities_out(sample: Sample, drift: float) -> tuple[np.ndarray, ...]:
    """Draw the place alone, with a background that is equal but for a bright corner."""
    first, second = draw(*(replace(s, entity=None, colour=None) for s in scenes_of(sample)))
    second[:8, :8] = 255 - second[:8, :8]
    return first, second


def repeat_the_first(sample: Sample, drift: float) -> tuple[np.ndarray, ...]:
    """Draw the first prompt twice."""
    return draw(*[scenes_of(sample)[0]] * 2)


def fill_the_frame(sample: Sample, drift: float) -> tuple[np.ndarray, ...]:
    """Draw the entities so large that they leave next to no background."""
    return draw(*(replace(s, area=1.6, centre_x=0.5, centre_y=0.5) for s in scenes_of(sample)))


@dataclass
class DrawnMethod:
    """Draws pairs; its one knob moves the second background."""

    name: str = "coupled"
    draw_pair: Callable[[Sample, float], tuple[np.ndarray, ...]] = draw_honestly
    knobs: tuple[Knob, ...] = (DRIFT,)
    main_knob: str | None = "drift"
    drawn: list[str] = field(default_factory=list)
    """Groups in the order in which they were drawn."""
    stop_after: int | None = None
    """Groups after which a Ctrl-C comes."""

    def generate(
        self,
        samples: Sequence[Sample],
        knobs: Knobs,
        on_step: Callable[[int, int], None] | None = None,
    ) -> list[MethodOutput | Rejection]:
        """Draw one batch."""
        if self.stop_after is not None and len(self.drawn) >= self.stop_after:
            raise KeyboardInterrupt
        self.drawn += [sample.group.group_id for sample in samples]
        return [
            MethodOutput(self.draw_pair(sample, knobs.get("drift", 0.0)), 0.01, 4.0)
            for sample in samples
        ]
