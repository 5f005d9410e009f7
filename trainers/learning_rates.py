"""How the learning rate changes over a run."""

import math
from typing import Literal

Schedule = Literal["constant", "cosine", "linear"]


def share_of_learning_rate(step: int, *, steps: int, schedule: Schedule, warm_up_steps: int, floor: float) -> float:
    """The factor of the learning rate at a step, the first being 0.

    It rises in a line over the warm-up, is 1 at its last step, and then falls to `floor`, reached with the last step.
    """
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    progress = min(1.0, (step - warm_up_steps) / max(1, steps - 1 - warm_up_steps))
    if schedule == "cosine":
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "linear":
        return 1 - (1 - floor) * progress
    return 1.0
