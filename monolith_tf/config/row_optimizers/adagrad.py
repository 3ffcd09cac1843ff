"""Adagrad, row-wise Adagrad and Adadelta."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.row_optimizers.base import LearningRate
from monolith_tf.config.row_optimizers.base import SteppedRowOptimizer


@dataclasses.dataclass(frozen=True)
class Adagrad(SteppedRowOptimizer):
    """Adagrad, as in tf.keras.

    `accumulator += gradient^2; row -= learning_rate * gradient /
    sqrt(accumulator + epsilon)`. Reference: Duchi, Hazan, Singer: Adaptive
    subgradient methods, JMLR 12 (2011), equation (1) with a diagonal matrix.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        initial_accumulator_value: Float >= 0, the accumulator of a new row.
        epsilon: Float >= 0.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> Adagrad(learning_rate=0.05).slot_names
    ('accumulator',)
    """

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    kind: ClassVar[str] = "adagrad"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_accumulator()

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The sum of squares per weight."""
        return ("accumulator",)


@dataclasses.dataclass(frozen=True)
class RowWiseAdagrad(Adagrad):
    """Adagrad with one accumulator per row: `dim` times less state.

    `accumulator += mean(gradient^2); row -= learning_rate * gradient /
    sqrt(accumulator + epsilon)`. Reference: Mudigere et al.: Software-hardware
    co-design for fast and scalable training of deep learning recommendation
    models, ISCA 2022, and the rowwise Adagrad of FBGEMM. Epsilon is
    under the root, as in `Adagrad`, which it equals at dim 1.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        initial_accumulator_value: Float >= 0, the accumulator of a new row.
        epsilon: Float >= 0.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> RowWiseAdagrad(0.05).slot_floats(dim=64)
    1
    """

    kind: ClassVar[str] = "row_wise_adagrad"

    def slot_floats(self, dim: int) -> int:
        """Returns 1 for any dim."""
        return 1


@dataclasses.dataclass(frozen=True)
class Adadelta(SteppedRowOptimizer):
    """Adadelta, as in tf.keras.

    Reference: Zeiler: ADADELTA, arXiv 1212.5701, algorithm 1; the learning rate
    scales its step.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        rho: Float in [0, 1), decay of both means of squares.
        epsilon: Float > 0.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> Adadelta(1.0).slot_names
    ('accumulated_grad', 'accumulated_delta_var')
    """

    learning_rate: LearningRate = 0.001
    rho: float = 0.95
    epsilon: float = 1e-7
    kind: ClassVar[str] = "adadelta"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_below_1("rho")
        self.check_positive("epsilon")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Mean squares of gradients and of steps."""
        return ("accumulated_grad", "accumulated_delta_var")
