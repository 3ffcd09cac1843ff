"""Optimizers of tables: one step for each distinct id of a training step.

A step changes only the rows it names, exactly as if the tf.keras optimizer ran
on a dense variable made of just those rows and their slots.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any
from typing import ClassVar

import tensorflow as tf

LearningRate = float | Callable[[Any], Any] | tf.Variable


@dataclasses.dataclass(frozen=True)
class RowOptimizer:
    """Base of the row optimizers; make one of the children.

    A learning rate is a number, a schedule (anything that is called with the
    global step, an int64 scalar counted from 0, as Keras schedules are), or a
    `tf.Variable`.

    Example:
    >>> Adagrad(learning_rate=0.1).slot_names
    ('accumulator',)
    """

    learning_rate: LearningRate = 0.01
    kind: ClassVar[str] = ""
    slot_names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        """Checks the learning rate."""
        rate = self.learning_rate
        if isinstance(rate, tf.Variable) or callable(rate):
            return
        _check_number(self, "learning_rate", rate)
        if not rate >= 0:
            raise ValueError(
                f"{type(self).__name__} needs learning_rate >= 0. Received: "
                f"learning_rate={rate}."
            )

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers that the C++ core takes, in its order."""
        return tuple(
            float(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name != "learning_rate"
        )

    def learning_rate_at(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step: float32 scalar.

        Args:
            step: int64 scalar, the number of steps made before this one.
        """
        rate = self.learning_rate
        if not isinstance(rate, tf.Variable) and callable(rate):
            rate = rate(step)
        return tf.reshape(tf.cast(rate, tf.float32), [])

    def get_config(self) -> dict:
        """Returns what `from_config` makes an equal optimizer of.

        A `tf.Variable` is written as its value, a Keras schedule as its config.

        Raises:
            ValueError: The schedule is a function that can't be written down.
        """
        config = {"kind": self.kind}
        for field in dataclasses.fields(self):
            config[field.name] = getattr(self, field.name)
        rate = self.learning_rate
        if isinstance(rate, tf.Variable):
            config["learning_rate"] = float(rate.numpy())
        elif hasattr(rate, "get_config"):
            import tf_keras

            config["learning_rate"] = tf_keras.optimizers.schedules.serialize(
                rate
            )
        elif callable(rate):
            raise ValueError(
                f"The learning rate of {type(self).__name__} is a function, "
                f"which can't be written to a config: {rate!r}. Use a "
                "tf_keras.optimizers.schedules.LearningRateSchedule."
            )
        return config


@dataclasses.dataclass(frozen=True)
class SGD(RowOptimizer):
    """Gradient descent: `row -= learning_rate * gradient`.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.

    Example:
    >>> SGD(learning_rate=0.5).slot_names
    ()
    """

    kind: ClassVar[str] = "sgd"


@dataclasses.dataclass(frozen=True)
class Adagrad(RowOptimizer):
    """Adagrad, as tf.keras has it.

    `accumulator += gradient^2; row -= learning_rate * gradient /
    sqrt(accumulator + epsilon)`. Reference: Duchi, Hazan, Singer: Adaptive
    subgradient methods, JMLR 12 (2011), equation (1) with a diagonal matrix.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        initial_accumulator_value: Float >= 0, the accumulator of a new row.
        epsilon: Float >= 0.

    Example:
    >>> Adagrad(learning_rate=0.05).slot_names
    ('accumulator',)
    """

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    kind: ClassVar[str] = "adagrad"
    slot_names: ClassVar[tuple[str, ...]] = ("accumulator",)

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        _check_not_negative(self, "initial_accumulator_value")
        _check_not_negative(self, "epsilon")
        if self.initial_accumulator_value + self.epsilon == 0:
            raise ValueError(
                "Adagrad needs initial_accumulator_value + epsilon > 0, or a "
                "zero gradient divides by zero. Received: both 0."
            )


@dataclasses.dataclass(frozen=True)
class Adam(RowOptimizer):
    """Adam, as tf.keras has it, on the rows of the step only.

    Bias correction uses the global step of the training, not a count per row.
    Reference: Kingma, Ba: Adam, ICLR 2015, algorithm 1 and the reordering at
    the end of section 2.

    Args:
        learning_rate: Number >= 0, schedule of the step, or `tf.Variable`.
        beta_1: Float in [0, 1), decay of the first moment.
        beta_2: Float in [0, 1), decay of the second moment.
        epsilon: Float > 0.

    Example:
    >>> Adam().slot_names
    ('momentum', 'velocity')
    """

    learning_rate: LearningRate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    kind: ClassVar[str] = "adam"
    slot_names: ClassVar[tuple[str, ...]] = ("momentum", "velocity")

    def __post_init__(self):
        """Checks every number."""
        super().__post_init__()
        for field in ("beta_1", "beta_2"):
            value = getattr(self, field)
            _check_number(self, field, value)
            if not 0 <= value < 1:
                raise ValueError(
                    f"Adam needs 0 <= {field} < 1. Received: {field}={value}."
                )
        _check_number(self, "epsilon", self.epsilon)
        if not self.epsilon > 0:
            raise ValueError(
                f"Adam needs epsilon > 0. Received: epsilon={self.epsilon}."
            )


def from_config(config: dict) -> RowOptimizer:
    """Makes the row optimizer that `get_config` described.

    Raises:
        ValueError: The kind is not known.
    """
    config = dict(config)
    kind = config.pop("kind", None)
    if isinstance(config.get("learning_rate"), dict):
        import tf_keras

        config["learning_rate"] = tf_keras.optimizers.schedules.deserialize(
            config["learning_rate"]
        )
    for cls in (SGD, Adagrad, Adam):
        if cls.kind == kind:
            return cls(**config)
    raise ValueError(
        f"A row optimizer's kind is one of sgd, adagrad, adam. Received: "
        f"{kind!r}."
    )


def _check_number(optimizer: RowOptimizer, field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        expected = "a number"
        if field == "learning_rate":
            expected += ", a schedule or a tf.Variable"
        raise TypeError(
            f"{type(optimizer).__name__} needs {expected} for {field}. "
            f"Received: {value!r} (of type {type(value).__name__})."
        )
    if not math.isfinite(value):
        raise ValueError(
            f"{type(optimizer).__name__} needs a finite {field}. Received: "
            f"{field}={value}."
        )


def _check_not_negative(optimizer: RowOptimizer, field: str) -> None:
    value = getattr(optimizer, field)
    _check_number(optimizer, field, value)
    if value < 0:
        raise ValueError(
            f"{type(optimizer).__name__} needs {field} >= 0. Received: "
            f"{field}={value}."
        )
