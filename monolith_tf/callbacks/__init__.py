"""Keras callbacks for `fit` of tf_keras and of Keras 3.

Imports `serving`, `cluster`, `snapshots`, `keras_common`, `optimizers`
and below. Start with `delta_push.py`.
"""

from monolith_tf.callbacks.checkpoints import Checkpoints
from monolith_tf.callbacks.delta_push import DeltaPush
from monolith_tf.callbacks.early_stopping import EarlyStopping
from monolith_tf.callbacks.snapshots import Snapshots
from monolith_tf.callbacks.table_learning_rate import TableLearningRate
from monolith_tf.callbacks.table_summaries import TableSummaries
from monolith_tf.callbacks.training_metrics import TrainingMetrics

__all__ = [
    "Checkpoints",
    "DeltaPush",
    "EarlyStopping",
    "Snapshots",
    "TableLearningRate",
    "TableSummaries",
    "TrainingMetrics",
]
