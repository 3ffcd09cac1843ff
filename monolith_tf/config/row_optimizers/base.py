"""Base of the row optimizers: learning rate, regularization, config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from typing import ClassVar

import tensorflow as tf

from monolith_tf.config.row_optimizers import schedules
from monolith_tf.config.validation import as_flag
from monolith_tf.config.validation import checked_number

LearningRate = float | Callable[[Any], Any] | tf.Variable

# In the order of the core.
REGULARIZATION = ("weight_decay", "l2", "clipvalue", "clipnorm", "max_norm")


@dataclasses.dataclass(frozen=True)
class RowOptimizer:
    """Base of the row optimizers; use a subclass.

    Numbers, Python's or NumPy's, reach the C++ core as float32, with about 7
    digits. A number that leaves its range by rounding is rejected.

    Example:
    >>> import monolith_tf as mt
    >>> isinstance(mt.optimizers.Adagrad(0.1), mt.optimizers.RowOptimizer)
    True
    """

    kind: ClassVar[str] = ""

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the slots of a row, in order."""
        return ()

    def slot_floats(self, dim: int) -> int:
        """Returns the number of floats in the slots of a row of `dim`."""
        return dim * len(self.slot_names)

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers that the C++ core takes, in its order."""
        return tuple(
            float(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in ("learning_rate", *REGULARIZATION)
        )

    @property
    def regularization(self) -> tuple[float, float, float, float, float]:
        """Weight decay, l2, clip value, clip norm, max norm; 0 if disabled."""
        return tuple(
            float(getattr(self, field, None) or 0.0) for field in REGULARIZATION
        )

    def learning_rate_at(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step: float32 scalar.

        Args:
            step: int64 scalar, the number of steps made before this one.
        """
        rate = getattr(self, "learning_rate", 0.0)
        if not isinstance(rate, tf.Variable) and callable(rate):
            rate = rate(step)
        return tf.reshape(tf.cast(rate, tf.float32), [])

    def get_config(self) -> dict:
        """Returns the config of an equal optimizer.

        It has the value of a `tf.Variable`, and the config of a Keras schedule.

        Raises:
            ValueError: The schedule is a plain function.
        """
        config = {"kind": self.kind}
        for field in dataclasses.fields(self):
            config[field.name] = getattr(self, field.name)
        rate = config.get("learning_rate")
        if isinstance(rate, tf.Variable):
            config["learning_rate"] = float(rate.numpy())
        elif hasattr(rate, "get_config"):
            config["learning_rate"] = schedules.described(rate)
        elif callable(rate):
            raise ValueError(
                f"The learning rate of {type(self).__name__} is a function, "
                f"which can't be part of a config. Received: {rate!r}. Use a "
                "tf_keras.optimizers.schedules.LearningRateSchedule."
            )
        return config

    def check_rate(self) -> None:
        """Checks the learning rate; subclasses call it."""
        rate = self.learning_rate
        if not isinstance(rate, tf.Variable) and not callable(rate):
            self.check_at_least_0("learning_rate")

    def check_number(self, field: str) -> None:
        """Checks that a field is a finite number; subclasses call it."""
        self._check(field)

    def check_at_least_0(self, *fields: str) -> None:
        """Checks that fields are numbers >= 0; subclasses call it."""
        for field in fields:
            self._check(field, "{field} >= 0", lambda value: value >= 0)

    def check_positive(self, *fields: str) -> None:
        """Checks that fields are numbers > 0; subclasses call it."""
        for field in fields:
            self._check(field, "{field} > 0", lambda value: value > 0)

    def check_below_1(self, *fields: str) -> None:
        """Checks that fields are numbers in [0, 1); subclasses call it."""
        for field in fields:
            self._check(field, "0 <= {field} < 1", lambda value: 0 <= value < 1)

    def check_up_to_1(self, *fields: str) -> None:
        """Checks that fields are numbers in [0, 1]; subclasses call it."""
        for field in fields:
            self._check(
                field, "0 <= {field} <= 1", lambda value: 0 <= value <= 1
            )

    def check_flag(self, *fields: str) -> None:
        """Checks that fields are bools; subclasses call it."""
        for field in fields:
            value = getattr(self, field)
            flag = as_flag(value)
            if flag is None:
                raise TypeError(
                    f"{type(self).__name__} needs True or False for {field}. "
                    f"Received: {value!r} (of type {type(value).__name__})."
                )
            object.__setattr__(self, field, flag)

    def check_accumulator(self) -> None:
        """Checks the divisor of Adagrad; subclasses call it."""
        self.check_at_least_0("initial_accumulator_value", "epsilon")
        if self.initial_accumulator_value + self.epsilon == 0:
            raise ValueError(
                f"{type(self).__name__} needs initial_accumulator_value + "
                "epsilon > 0, or a zero gradient divides by zero. Received: "
                "both 0."
            )

    def _check(
        self,
        field: str,
        condition: str | None = None,
        is_right: Callable[[float], bool] = lambda value: True,
    ) -> None:
        kinds = "a number"
        if field == "learning_rate":
            kinds += ", a schedule or a tf.Variable"
        number = checked_number(
            type(self).__name__,
            field,
            getattr(self, field),
            condition.format(field=field) if condition else None,
            is_right,
            kinds,
        )
        # JSON does not support NumPy's numbers.
        object.__setattr__(self, field, number)


@dataclasses.dataclass(frozen=True)
class SteppedRowOptimizer(RowOptimizer):
    """Base of the optimizers that step weights along gradients.

    A learning rate is a number, a schedule (a callable of the global step, an
    int64 scalar counted from 0, as in Keras), or a `tf.Variable`.

    Regularization is by keyword and per row, in this order: `gradient += 2 * l2
    * row` (as `tf.keras.regularizers.L2`), clipping to `clipvalue` and then to
    `clipnorm` (tf.keras uses `clipnorm` alone when both are given), `row -=
    weight_decay * learning_rate * row`, the step, and scaling to `max_norm` (as
    `tf.keras.constraints.MaxNorm`). None or 0 disables each.

    Example:
    >>> SteppedRowOptimizer(0.1, clipnorm=1.0).regularization
    (0.0, 0.0, 0.0, 1.0, 0.0)
    """

    learning_rate: LearningRate = 0.01
    weight_decay: float | None = dataclasses.field(default=None, kw_only=True)
    clipnorm: float | None = dataclasses.field(default=None, kw_only=True)
    clipvalue: float | None = dataclasses.field(default=None, kw_only=True)
    l2: float | None = dataclasses.field(default=None, kw_only=True)
    max_norm: float | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        """Checks the learning rate and the regularization."""
        self.check_rate()
        for field in REGULARIZATION:
            if getattr(self, field) is not None:
                self.check_at_least_0(field)
