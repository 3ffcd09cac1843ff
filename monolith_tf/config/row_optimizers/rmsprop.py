"""RMSprop."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.row_optimizers.base import LearningRate
from monolith_tf.config.row_optimizers.base import SteppedRowOptimizer


@dataclasses.dataclass(frozen=True)
class RMSprop(SteppedRowOptimizer):
    """RMSprop, as in tf.keras, plain or centered.

    `velocity = rho * velocity + (1 - rho) * gradient^2; m = momentum * m +
    learning_rate * gradient / sqrt(velocity + epsilon); row -= m`. Centered,
    the square of the mean gradient is subtracted from the velocity: the
    variance, clipped at 0, where tf.keras may continue with NaN. References:
    Hinton, Neural networks for machine learning, lecture 6e; centered: Graves,
    arXiv 1308.0850, equations (38) to (41).

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        rho: Float in [0, 1), decay of the means.
        momentum: Float in [0, 1]; 0 disables it and needs no slot.
        epsilon: Float > 0.
        centered: True to divide by the variance.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> RMSprop().slot_names
    ('velocity',)
    >>> RMSprop(momentum=0.9, centered=True).slot_names
    ('velocity', 'momentum', 'average_gradient')
    """

    learning_rate: LearningRate = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    kind: ClassVar[str] = "rmsprop"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_below_1("rho")
        self.check_up_to_1("momentum")
        self.check_positive("epsilon")
        self.check_flag("centered")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The slots that the hyperparameters need."""
        return (
            "velocity",
            *(["momentum"] if self.momentum else []),
            *(["average_gradient"] if self.centered else []),
        )
