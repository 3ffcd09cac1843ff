"""Optimizers for delayed gradients."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.row_optimizers.adagrad import Adagrad
from monolith_tf.config.row_optimizers.base import SteppedRowOptimizer


@dataclasses.dataclass(frozen=True)
class DelayCompensatedSGD(SteppedRowOptimizer):
    """Gradient descent for gradients that are delayed by one update of the row.

    `row -= learning_rate * (gradient + variance_control * gradient^2 * (row -
    backup))`, where `backup` is the row before its last update. Reference:
    Zheng et al.: Asynchronous stochastic gradient descent with delay
    compensation, ICML 2017, equation (10). A compensated gradient is clipped
    to +-2^48.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        variance_control: Float >= 0, lambda in the paper.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> DelayCompensatedSGD(0.1).slot_names
    ('backup',)
    """

    variance_control: float = 0.04
    kind: ClassVar[str] = "delay_compensated_sgd"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_at_least_0("variance_control")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The row before its last update."""
        return ("backup",)


@dataclasses.dataclass(frozen=True)
class DelayCompensatedAdagrad(SteppedRowOptimizer):
    """`Adagrad` with the delay compensation of `DelayCompensatedSGD`.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        variance_control: Float >= 0, lambda in the paper.
        initial_accumulator_value: Float >= 0, the accumulator of a new row.
        epsilon: Float >= 0.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> DelayCompensatedAdagrad(0.1).slot_names
    ('accumulator', 'backup')
    """

    variance_control: float = 0.04
    initial_accumulator_value: float = Adagrad.initial_accumulator_value
    epsilon: float = Adagrad.epsilon
    kind: ClassVar[str] = "delay_compensated_adagrad"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_at_least_0("variance_control")
        self.check_accumulator()

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The sum of squares, and the row before its last update."""
        return ("accumulator", "backup")
