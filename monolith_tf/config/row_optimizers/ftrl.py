"""FTRL, and the optimizers with a sparse group lasso."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.row_optimizers.base import LearningRate
from monolith_tf.config.row_optimizers.base import SteppedRowOptimizer


@dataclasses.dataclass(frozen=True)
class Ftrl(SteppedRowOptimizer):
    """FTRL-proximal, as in tf.keras.

    With p = -learning_rate_power: `sigma = ((n + gradient^2)^p - n^p) /
    learning_rate; z += gradient + 2 * l2_shrinkage * row - sigma * row; n +=
    gradient^2; row = (clip(z, -l1, l1) - z) / (n^p / learning_rate + 2 * l2 +
    beta / learning_rate)`. Reference: McMahan et al.: Ad click prediction, KDD
    2013, algorithm 1. A step with a learning rate of 0 changes nothing;
    tf.keras divides by it.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        learning_rate_power: Float in [-1, 0]; the default, -0.5, is the
            fastest. tf.keras also accepts lower values, whose powers overflow
            float32 at large valid gradients.
        initial_accumulator_value: Float >= 0, the accumulator of a new row.
        l1_regularization_strength: Float >= 0; sets weights to exactly 0.
        l2_regularization_strength: Float >= 0.
        l2_shrinkage_regularization_strength: Float >= 0.
        beta: Float >= 0.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> Ftrl(0.1, l1_regularization_strength=0.01).slot_names
    ('accumulator', 'linear')
    """

    learning_rate: LearningRate = 0.001
    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l2_shrinkage_regularization_strength: float = 0.0
    beta: float = 0.0
    kind: ClassVar[str] = "ftrl"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_number("learning_rate_power")
        if not -1 <= self.learning_rate_power <= 0:
            raise ValueError(
                "Ftrl needs -1 <= learning_rate_power <= 0. Below -1 the power "
                "of the accumulator overflows float32 at valid gradients (up "
                "to 2^48; tf.keras returns NaN), and steps shrink so fast that "
                "rows stop short of their optimum. Received: "
                f"learning_rate_power={self.learning_rate_power}."
            )
        self.check_at_least_0(
            "initial_accumulator_value",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l2_shrinkage_regularization_strength",
            "beta",
        )

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The sum of squares and the dual per weight."""
        return ("accumulator", "linear")


@dataclasses.dataclass(frozen=True)
class GroupAdagrad(SteppedRowOptimizer):
    """Adagrad with a sparse group lasso: whole rows become exactly 0.

    The composite mirror descent of Duchi, Hazan, Singer: Adaptive subgradient
    methods, JMLR 12 (2011), equation (4), with the penalty of Yue et al.:
    Adaptive optimizers with sparse group lasso for neural networks in CTR
    prediction, ECML PKDD 2021, with one group per row: `l1 |x|_1 + l21
    sqrt(dim) |A^(1/2) x|_2 + l2 |x|^2` with `A = Q / 2 + l2`. Its closed form
    is their theorem 1: `accumulator += gradient^2; Q = sqrt(accumulator +
    epsilon) / learning_rate; z = gradient - Q * row; s = clip(z, -l1, l1) - z;
    row = max(1 - l21 sqrt(dim) / |A^(-1/2) s|_2, 0) * s / (Q + 2 * l2)`.
    Without penalties it is `Adagrad`. A step with a learning rate of 0 changes
    nothing.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        initial_accumulator_value: Float >= 0, the accumulator of a new row.
        epsilon: Float >= 0.
        l1_regularization_strength: Float >= 0; sets weights to exactly 0.
        l2_regularization_strength: Float >= 0.
        l21_regularization_strength: Float >= 0; sets rows to exactly 0.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> GroupAdagrad(0.1, l21_regularization_strength=0.01).slot_names
    ('accumulator',)
    """

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l21_regularization_strength: float = 0.0
    kind: ClassVar[str] = "group_adagrad"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_accumulator()
        self.check_at_least_0(
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l21_regularization_strength",
        )

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The sum of squares per weight."""
        return ("accumulator",)


@dataclasses.dataclass(frozen=True)
class GroupFtrl(SteppedRowOptimizer):
    """FTRL with a sparse group lasso: whole rows become exactly 0.

    The group Adagrad of Yue et al. (see `GroupAdagrad` for the penalty and the
    closed form), which stores the dual: `z += gradient - (sqrt(n +
    gradient^2) - sqrt(n)) / learning_rate * row; n += gradient^2; Q = (sqrt(n)
    + beta) / learning_rate`. Without `l21` it is `Ftrl`. A step with a learning
    rate of 0 changes nothing.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        initial_accumulator_value: Float >= 0, the accumulator of a new row.
        beta: Float >= 0.
        l1_regularization_strength: Float >= 0; sets weights to exactly 0.
        l2_regularization_strength: Float >= 0.
        l21_regularization_strength: Float >= 0; sets rows to exactly 0.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> GroupFtrl(0.1, l21_regularization_strength=0.01).slot_names
    ('accumulator', 'linear')
    """

    initial_accumulator_value: float = 0.1
    beta: float = 0.0
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l21_regularization_strength: float = 0.0
    kind: ClassVar[str] = "group_ftrl"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_at_least_0(
            "initial_accumulator_value",
            "beta",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l21_regularization_strength",
        )

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The sum of squares and the dual per weight."""
        return ("accumulator", "linear")
