"""Gradient descent and the moving average."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.row_optimizers.base import RowOptimizer
from monolith_tf.config.row_optimizers.base import SteppedRowOptimizer


@dataclasses.dataclass(frozen=True)
class SGD(SteppedRowOptimizer):
    """Gradient descent, as in tf.keras: `row -= learning_rate * gradient`.

    With momentum `m = momentum * m - learning_rate * gradient` and `row += m`;
    with Nesterov momentum `row += momentum * m - learning_rate * gradient`.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        momentum: Float in [0, 1]; 0 disables it and needs no slot.
        nesterov: True for Nesterov momentum.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> SGD(0.5).slot_names, SGD(0.5, momentum=0.9).slot_names
    ((), ('momentum',))
    """

    momentum: float = 0.0
    nesterov: bool = False
    kind: ClassVar[str] = "sgd"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_up_to_1("momentum")
        self.check_flag("nesterov")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """One slot with momentum, else none."""
        return ("momentum",) if self.momentum else ()


@dataclasses.dataclass(frozen=True)
class MovingAverage(RowOptimizer):
    """`row = momentum * row + (1 - momentum) * gradient`.

    The gradient is a sample of the averaged quantity, so there is neither a
    learning rate nor regularization.

    Args:
        momentum: Float in [0, 1].

    Example:
    >>> MovingAverage(momentum=0.9).slot_names
    ()
    """

    momentum: float = 0.9
    kind: ClassVar[str] = "moving_average"

    def __post_init__(self):
        """Checks every number."""
        self.check_up_to_1("momentum")
