"""The Estimator API, a folder that installs as `monolith_tf.estimators`.

Imports `callbacks`, `layers` and below. Start with `estimator.py`.
"""

from monolith_tf.estimators import export
from monolith_tf.estimators.deep_fm import DeepFMEstimator
from monolith_tf.estimators.delta_push_hook import DeltaPushHook
from monolith_tf.estimators.estimator import Estimator
from monolith_tf.estimators.estimator_spec import EstimatorSpec
from monolith_tf.estimators.estimator_spec import ModeKeys
from monolith_tf.estimators.exporters import BestExporter
from monolith_tf.estimators.exporters import Exporter
from monolith_tf.estimators.exporters import FinalExporter
from monolith_tf.estimators.exporters import LatestExporter
from monolith_tf.estimators.model_to_estimator import KerasEstimator
from monolith_tf.estimators.model_to_estimator import model_to_estimator
from monolith_tf.estimators.run_config import RunConfig
from monolith_tf.estimators.snapshot_config import SnapshotConfig
from monolith_tf.estimators.snapshot_hook import SnapshotHook
from monolith_tf.estimators.step_barrier import StepBarrier
from monolith_tf.estimators.step_barrier import StepBarrierHook
from monolith_tf.estimators.train_and_evaluate import train_and_evaluate
from monolith_tf.estimators.train_spec import EvalSpec
from monolith_tf.estimators.train_spec import TrainSpec
from monolith_tf.estimators.warm_start import WarmStartSettings

__all__ = [
    "BestExporter",
    "DeepFMEstimator",
    "DeltaPushHook",
    "Estimator",
    "EstimatorSpec",
    "EvalSpec",
    "Exporter",
    "FinalExporter",
    "KerasEstimator",
    "LatestExporter",
    "ModeKeys",
    "RunConfig",
    "SnapshotConfig",
    "SnapshotHook",
    "StepBarrier",
    "StepBarrierHook",
    "TrainSpec",
    "WarmStartSettings",
    "export",
    "model_to_estimator",
    "train_and_evaluate",
]
