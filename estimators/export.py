"""The names of tf.estimator.export."""

from monolith_tf.estimators.export_outputs import ClassificationOutput
from monolith_tf.estimators.export_outputs import PredictOutput
from monolith_tf.estimators.export_outputs import RegressionOutput
from monolith_tf.estimators.receivers import ServingInputReceiver
from monolith_tf.estimators.receivers import (
    build_parsing_serving_input_receiver_fn,
)
from monolith_tf.estimators.receivers import build_raw_serving_input_receiver_fn

__all__ = [
    "ClassificationOutput",
    "PredictOutput",
    "RegressionOutput",
    "ServingInputReceiver",
    "build_parsing_serving_input_receiver_fn",
    "build_raw_serving_input_receiver_fn",
]
