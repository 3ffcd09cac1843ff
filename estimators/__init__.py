"""Estimators, and the roles and processes of a cluster."""

from monolith_tf.cluster.child_process import ChildProcess
from monolith_tf.cluster.child_process import ProcessError
from monolith_tf.cluster.child_process import stop_all
from monolith_tf.cluster.death_watch import DeathWatch
from monolith_tf.cluster.failures import EXIT_RESTART
from monolith_tf.cluster.failures import exit_for_restart
from monolith_tf.cluster.failures import is_cluster_failure
from monolith_tf.cluster.job import Job
from monolith_tf.cluster.local_cluster import LocalCluster
from monolith_tf.cluster.ports import pick_free_ports
from monolith_tf.cluster.role_metrics import ServerCollector
from monolith_tf.cluster.role_metrics import WorkerCollector
from monolith_tf.cluster.roles import parse_tf_config
from monolith_tf.cluster.roles import run_parameter_server
from monolith_tf.cluster.roles import run_worker
from monolith_tf.cluster.strategy import parameter_server_strategy
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
from monolith_tf.estimators.train_and_evaluate import train_and_evaluate
from monolith_tf.estimators.train_spec import EvalSpec
from monolith_tf.estimators.train_spec import TrainSpec
from monolith_tf.estimators.warm_start import WarmStartSettings

__all__ = [
    "BestExporter",
    "ChildProcess",
    "DeathWatch",
    "DeepFMEstimator",
    "DeltaPushHook",
    "EXIT_RESTART",
    "Estimator",
    "EstimatorSpec",
    "EvalSpec",
    "Exporter",
    "FinalExporter",
    "Job",
    "KerasEstimator",
    "LatestExporter",
    "LocalCluster",
    "ModeKeys",
    "ProcessError",
    "RunConfig",
    "ServerCollector",
    "TrainSpec",
    "WarmStartSettings",
    "WorkerCollector",
    "exit_for_restart",
    "export",
    "is_cluster_failure",
    "model_to_estimator",
    "parameter_server_strategy",
    "parse_tf_config",
    "pick_free_ports",
    "run_parameter_server",
    "run_worker",
    "stop_all",
    "train_and_evaluate",
]
