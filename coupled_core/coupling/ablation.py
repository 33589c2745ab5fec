"""Parts of the coupling that can be switched, to learn what each of them is worth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ablation:
    """What differs from the method; the defaults are the method.

    Both concern steps with 0 < beta < 1.
    """

    texts_meet: bool = True
    """Whether, in double-stream blocks of the modes that weigh logits, background text and entity
    text attend to each other."""
    pooled_of_entity: bool = False
    """Whether the pooled vector is the entity stream's from the start, instead of one that beta
    interpolates; images then differ already at beta = 0, and share no step."""


THE_METHOD = Ablation()
