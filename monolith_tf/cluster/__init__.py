"""Processes of a training job: roles, launch, failure detection, metrics.

Imports `ops`, `config` and below. Start with `roles.py`, then `job.py`.
"""

from monolith_tf.cluster.child_process import ChildProcess
from monolith_tf.cluster.child_process import ProcessError
from monolith_tf.cluster.child_process import stop_all
from monolith_tf.cluster.death_watch import DeathWatch
from monolith_tf.cluster.failures import EXIT_RESTART
from monolith_tf.cluster.failures import exit_for_restart
from monolith_tf.cluster.failures import is_cluster_failure
from monolith_tf.cluster.health import Health
from monolith_tf.cluster.heartbeat_metrics import HeartbeatCollector
from monolith_tf.cluster.heartbeats import HeartbeatMonitor
from monolith_tf.cluster.job import Job
from monolith_tf.cluster.local_cluster import LocalCluster
from monolith_tf.cluster.ports import pick_free_ports
from monolith_tf.cluster.progress import report_step
from monolith_tf.cluster.role_metrics import ServerCollector
from monolith_tf.cluster.role_metrics import WorkerCollector
from monolith_tf.cluster.roles import parse_tf_config
from monolith_tf.cluster.roles import run_parameter_server
from monolith_tf.cluster.roles import run_worker
from monolith_tf.cluster.strategy import parameter_server_strategy

__all__ = [
    "ChildProcess",
    "DeathWatch",
    "EXIT_RESTART",
    "Health",
    "HeartbeatCollector",
    "HeartbeatMonitor",
    "Job",
    "LocalCluster",
    "ProcessError",
    "ServerCollector",
    "WorkerCollector",
    "exit_for_restart",
    "is_cluster_failure",
    "parameter_server_strategy",
    "parse_tf_config",
    "pick_free_ports",
    "report_step",
    "run_parameter_server",
    "run_worker",
    "stop_all",
]
