"""Adam, AMSGrad and AdamW."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.row_optimizers.base import LearningRate
from monolith_tf.config.row_optimizers.base import SteppedRowOptimizer


@dataclasses.dataclass(frozen=True)
class Adam(SteppedRowOptimizer):
    """Adam, as in tf.keras, on the rows of the step only.

    Bias correction uses the global step of the training, or with `per_row_step`
    the number of steps of the row, so that rare and frequent ids start alike.
    References: Kingma, Ba: Adam, ICLR 2015, algorithm 1 and
    the reordering at the end of section 2; AMSGrad: Reddi, Kale, Kumar: On the
    convergence of Adam and beyond, ICLR 2018, algorithm 2.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        beta_1: Float in [0, 1), decay of the first moment.
        beta_2: Float in [0, 1), decay of the second moment.
        epsilon: Float > 0.
        amsgrad: True to divide by the largest second moment so far.
        per_row_step: True for a count of steps per row.
        weight_decay, clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> Adam().slot_names
    ('momentum', 'velocity')
    >>> Adam(amsgrad=True, per_row_step=True).slot_floats(dim=16)
    49
    """

    learning_rate: LearningRate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    per_row_step: bool = False
    kind: ClassVar[str] = "adam"

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        self.check_below_1("beta_1", "beta_2")
        self.check_positive("epsilon")
        self.check_flag("amsgrad", "per_row_step")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The moments, and the slots that the hyperparameters need."""
        return (
            "momentum",
            "velocity",
            *(["velocity_hat"] if self.amsgrad else []),
            *(["step"] if self.per_row_step else []),
        )

    def slot_floats(self, dim: int) -> int:
        """Returns `dim` per slot, and 1 for the row's step."""
        return dim * (3 if self.amsgrad else 2) + int(self.per_row_step)


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as in tf.keras.

    `row -= weight_decay * learning_rate * row` before the step of `Adam`.
    Reference: Loshchilov, Hutter: Decoupled weight decay regularization, ICLR
    2019, algorithm 2.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        beta_1: Float in [0, 1), decay of the first moment.
        beta_2: Float in [0, 1), decay of the second moment.
        epsilon: Float > 0.
        amsgrad: True to divide by the largest second moment so far.
        per_row_step: True for a count of steps per row.
        weight_decay: Float >= 0, by keyword.
        clipnorm, clipvalue, l2, max_norm: Regularization, see
            `SteppedRowOptimizer`.

    Example:
    >>> AdamW(0.001).regularization[0]
    0.004
    """

    weight_decay: float | None = dataclasses.field(default=0.004, kw_only=True)
    kind: ClassVar[str] = "adamw"
