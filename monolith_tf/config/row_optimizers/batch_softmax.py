"""Frequencies of ids, for the correction of sampled softmax losses."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.row_optimizers.base import LearningRate
from monolith_tf.config.row_optimizers.base import RowOptimizer


@dataclasses.dataclass(frozen=True)
class BatchSoftmax(RowOptimizer):
    """Estimates the number of steps between two occurrences of an id.

    A row B (dim 1; wider rows repeat the number in each element) follows the
    distance to the step A at which the id last occurred: `B = (1 -
    learning_rate) * B + learning_rate * (step - A); A = step`. 1 / B estimates
    the probability that the id is in a batch. The values of the gradient are
    ignored. A is exact up to step 2^48. Reference: Yi et al.:
    Sampling-bias-corrected neural modeling for large corpus item
    recommendations, RecSys 2019, algorithm 2, where A of a new id is 0. Use it
    with `mt.initializers.Zeros`.

    Args:
        learning_rate: Number in [0, 1], schedule of the step, or `tf.Variable`;
            alpha in the paper.

    Example:
    >>> BatchSoftmax(0.1).slot_floats(dim=1)
    2
    """

    learning_rate: LearningRate = 0.05
    kind: ClassVar[str] = "batch_softmax"

    def __post_init__(self):
        """Checks the learning rate."""
        self.check_rate()
        if isinstance(self.learning_rate, (int, float)):
            self.check_up_to_1("learning_rate")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The upper and the lower 24 bits of the last step."""
        return ("last_step_high", "last_step_low")

    def slot_floats(self, dim: int) -> int:
        """Returns 2 for any dim."""
        return 2
