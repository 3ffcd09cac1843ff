"""Row optimizers: one step per distinct id of a training step.

A step changes only the rows that it names, exactly as if the tf.keras optimizer
ran on a dense variable of those rows and their slots. Imports `errors`. Start
with `base.py`.
"""

from __future__ import annotations

from monolith_tf.config.row_optimizers import schedules
from monolith_tf.config.row_optimizers.adagrad import Adadelta
from monolith_tf.config.row_optimizers.adagrad import Adagrad
from monolith_tf.config.row_optimizers.adagrad import RowWiseAdagrad
from monolith_tf.config.row_optimizers.adam import Adam
from monolith_tf.config.row_optimizers.adam import AdamW
from monolith_tf.config.row_optimizers.base import LearningRate
from monolith_tf.config.row_optimizers.base import RowOptimizer
from monolith_tf.config.row_optimizers.batch_softmax import BatchSoftmax
from monolith_tf.config.row_optimizers.delay_compensated import (
    DelayCompensatedAdagrad,
)
from monolith_tf.config.row_optimizers.delay_compensated import (
    DelayCompensatedSGD,
)
from monolith_tf.config.row_optimizers.ftrl import Ftrl
from monolith_tf.config.row_optimizers.ftrl import GroupAdagrad
from monolith_tf.config.row_optimizers.ftrl import GroupFtrl
from monolith_tf.config.row_optimizers.rmsprop import RMSprop
from monolith_tf.config.row_optimizers.sgd import SGD
from monolith_tf.config.row_optimizers.sgd import MovingAverage

KINDS = (
    SGD,
    Adagrad,
    RowWiseAdagrad,
    Adadelta,
    RMSprop,
    Adam,
    AdamW,
    Ftrl,
    GroupAdagrad,
    GroupFtrl,
    DelayCompensatedSGD,
    DelayCompensatedAdagrad,
    MovingAverage,
    BatchSoftmax,
)

__all__ = [
    "KINDS",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchSoftmax",
    "DelayCompensatedAdagrad",
    "DelayCompensatedSGD",
    "Ftrl",
    "GroupAdagrad",
    "GroupFtrl",
    "LearningRate",
    "MovingAverage",
    "RMSprop",
    "RowOptimizer",
    "RowWiseAdagrad",
    "SGD",
    "from_config",
]


def from_config(config: dict) -> RowOptimizer:
    """Makes the row optimizer of a config.

    Args:
        config: Result of `get_config`.

    Raises:
        ValueError: The kind is unknown.
    """
    config = dict(config)
    kind = config.pop("kind", None)
    if isinstance(config.get("learning_rate"), dict):
        config["learning_rate"] = schedules.made(config["learning_rate"])
    for cls in KINDS:
        if cls.kind == kind:
            return cls(**config)
    raise ValueError(
        "Expected a row optimizer of kind "
        f"{', '.join(cls.kind for cls in KINDS)}. Received: {kind!r}."
    )
