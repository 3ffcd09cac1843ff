"""Cluster roles: parameter servers, workers and the processes they run in."""

from monolith_tf.estimators.child_process import ChildProcess
from monolith_tf.estimators.child_process import ProcessError
from monolith_tf.estimators.child_process import stop_all
from monolith_tf.estimators.cluster import parse_tf_config
from monolith_tf.estimators.cluster import run_parameter_server
from monolith_tf.estimators.cluster import run_worker
from monolith_tf.estimators.death_watch import DeathWatch
from monolith_tf.estimators.local_cluster import LocalCluster
from monolith_tf.estimators.ports import pick_free_ports

__all__ = [
    "ChildProcess",
    "DeathWatch",
    "LocalCluster",
    "ProcessError",
    "parse_tf_config",
    "pick_free_ports",
    "run_parameter_server",
    "run_worker",
    "stop_all",
]
