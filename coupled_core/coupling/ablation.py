"""Parts of the coupling that can be switched or added, to learn what each of them is worth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ablation:
    """What differs from the method; the defaults are the method.

    All concern the modes that weigh logits, and in them steps with beta > 0.
    """

    texts_meet: bool = True
    """Whether, in double-stream blocks, background text and entity text attend to each other."""
    blend_in_single: bool = True
    """Whether single-stream blocks attend to each text apart and blend; else they weigh logits as
    double-stream blocks do."""
    pooled_of_entity: bool = False
    """Whether the pooled vector is the entity stream's from the start, instead of one that beta
    interpolates; images then differ already at beta = 0, and share no step."""
    single_delay: float = 0.0
    """A schedule a block type: time t = 1 - sigma by which that of single-stream blocks runs behind
    that of double-stream blocks; negative: ahead of it."""
    pull: float = 0.0
    """Share of the way in [0, 1] by which each step draws the group's predicted clean latents to
    their mean, see `coupling.latent_pull`."""
    pull_until: float = 0.0
    """Time t = 1 - sigma at which the pull ends."""


THE_METHOD = Ablation()
