"""The run config of an Estimator: folders, checkpoints, cluster, task."""

from __future__ import annotations

import copy
import json
import os

import tensorflow as tf

from monolith_tf.estimators.snapshot_config import SnapshotConfig

_DEFAULT_SAVE_SECONDS = 600
_UNSET = object()
CHIEF = "chief"
WORKER = "worker"
PS = "ps"
EVALUATOR = "evaluator"


class RunConfig:
    """The run config of an Estimator, with the arguments of tf.estimator.

    The cluster and the task of this process come from the environment variable
    `TF_CONFIG`; without it everything is local.

    Args:
        model_dir: Folder of checkpoints and summaries.
        tf_random_seed: Seed of the graph's random ops.
        save_summary_steps: Steps between summaries.
        save_checkpoints_steps: Steps between checkpoints.
        save_checkpoints_secs: Seconds between checkpoints; 600 if neither is
            given. None for both disables checkpoints.
        session_config: A `tf.compat.v1.ConfigProto`.
        keep_checkpoint_max: Number of checkpoints to keep; None or 0 for all.
        keep_checkpoint_every_n_hours: Hours per checkpoint that is never
            deleted.
        log_step_count_steps: Steps between logs of the speed.
        train_distribute: Must be None: training on parameter servers uses
            between-graph replication and is asynchronous.
        device_fn: Returns the device of an operation. Default: variables on the
            parameter servers, round-robin.
        protocol: Protocol of the servers; None for "grpc".
        eval_distribute: Must be None.
        experimental_distribute: Must be None.
        experimental_max_worker_delay_secs: Ignored: workers start without a
            delay.
        session_creation_timeout_secs: Longest wait of a worker for the chief.
        checkpoint_save_graph_def: True to save graphs with checkpoints.
        snapshots: `SnapshotConfig` of the snapshots that training takes and
            starts from; None for none.

    Raises:
        TypeError: `snapshots` is no `SnapshotConfig`.
        ValueError: An argument or `TF_CONFIG` is not valid.
    """

    def __init__(
        self,
        model_dir=None,
        tf_random_seed=None,
        save_summary_steps=100,
        save_checkpoints_steps=_UNSET,
        save_checkpoints_secs=_UNSET,
        session_config=None,
        keep_checkpoint_max=5,
        keep_checkpoint_every_n_hours=10000,
        log_step_count_steps=100,
        train_distribute=None,
        device_fn=None,
        protocol=None,
        eval_distribute=None,
        experimental_distribute=None,
        experimental_max_worker_delay_secs=None,
        session_creation_timeout_secs=7200,
        checkpoint_save_graph_def=True,
        snapshots=None,
    ):
        """Reads `TF_CONFIG` and checks the arguments."""
        for name, value in (
            ("train_distribute", train_distribute),
            ("eval_distribute", eval_distribute),
            ("experimental_distribute", experimental_distribute),
        ):
            if value is not None:
                raise ValueError(
                    f"RunConfig: {name} must be None. Received: {value!r}. "
                    "Estimators train on the parameter servers of TF_CONFIG; "
                    "for a tf.distribute strategy use Keras."
                )
        both = _UNSET not in (save_checkpoints_steps, save_checkpoints_secs)
        if both and None not in (save_checkpoints_steps, save_checkpoints_secs):
            raise ValueError(
                "RunConfig: give save_checkpoints_steps or "
                "save_checkpoints_secs, not both. Received: "
                f"{save_checkpoints_steps!r} and {save_checkpoints_secs!r}."
            )
        if save_checkpoints_secs is _UNSET:
            save_checkpoints_secs = (
                _DEFAULT_SAVE_SECONDS
                if save_checkpoints_steps is _UNSET
                else None
            )
        if save_checkpoints_steps is _UNSET:
            save_checkpoints_steps = None
        for name, value in (
            ("save_checkpoints_steps", save_checkpoints_steps),
            ("save_checkpoints_secs", save_checkpoints_secs),
            ("keep_checkpoint_max", keep_checkpoint_max),
        ):
            if value is not None and value < 0:
                raise ValueError(
                    f"RunConfig: {name} must be 0 or more. Received: {value}."
                )
        if snapshots is not None and not isinstance(snapshots, SnapshotConfig):
            raise TypeError(
                "RunConfig: snapshots must be a "
                "monolith_tf.estimators.SnapshotConfig. Received: "
                f"{snapshots!r} (of type {type(snapshots).__name__}). Use "
                "SnapshotConfig(directory)."
            )
        self.tf_random_seed = tf_random_seed
        self.save_summary_steps = save_summary_steps
        self.save_checkpoints_steps = save_checkpoints_steps
        self.save_checkpoints_secs = save_checkpoints_secs
        self.keep_checkpoint_max = keep_checkpoint_max
        self.keep_checkpoint_every_n_hours = keep_checkpoint_every_n_hours
        self.log_step_count_steps = log_step_count_steps
        self.train_distribute = None
        self.eval_distribute = None
        self.device_fn = device_fn
        self.protocol = protocol
        self.experimental_max_worker_delay_secs = (
            experimental_max_worker_delay_secs
        )
        self.session_creation_timeout_secs = session_creation_timeout_secs
        self.checkpoint_save_graph_def = checkpoint_save_graph_def
        self.snapshots = snapshots
        self._read_tf_config(model_dir)
        self.session_config = session_config or self._default_session_config()

    def _read_tf_config(self, model_dir) -> None:
        text = os.environ.get("TF_CONFIG") or "{}"
        try:
            found = json.loads(text)
            task = found.get("task", {})
            cluster = {
                role: list(addresses)
                for role, addresses in found.get("cluster", {}).items()
            }
            self.task_type = task.get("type") or WORKER
            self.task_id = int(task.get("index", 0))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"TF_CONFIG does not parse ({error!r}). Expected "
                '{"cluster": {"chief": [...], "worker": [...], "ps": [...]}, '
                '"task": {"type": "worker", "index": 0}}. Received: '
                f"{text!r}."
            ) from error
        if cluster and self.task_type != EVALUATOR:
            if len(cluster.get(CHIEF, [])) != 1:
                raise ValueError(
                    "TF_CONFIG must have exactly one chief in its cluster. "
                    f"Received: {cluster}."
                )
            if not 0 <= self.task_id < len(cluster.get(self.task_type, [])):
                raise ValueError(
                    f"TF_CONFIG needs a task of its cluster {cluster}. "
                    f"Received: task {self.task_type!r} {self.task_id}."
                )
        self.service = found.get("service")
        of_dir = found.get("model_dir")
        if model_dir and of_dir and model_dir != of_dir:
            raise ValueError(
                f"model_dir is {model_dir!r}, but TF_CONFIG has {of_dir!r}. "
                "Give one of them."
            )
        self.model_dir = model_dir or of_dir
        if self.task_type == EVALUATOR or not cluster:
            # An evaluation reads checkpoints, so it is local.
            self.cluster_spec = tf.train.ClusterSpec({})
            self.num_ps_replicas = 0
            self.num_worker_replicas = 0 if cluster else 1
            self.is_chief = self.task_type != EVALUATOR
            self.master = self.evaluation_master = ""
            self.global_id_in_cluster = 0 if self.is_chief else None
            return
        self.cluster_spec = tf.train.ClusterSpec(cluster)
        self.num_ps_replicas = len(cluster.get(PS, []))
        self.num_worker_replicas = 1 + len(cluster.get(WORKER, []))
        self.is_chief = self.task_type == CHIEF
        self.global_id_in_cluster = {
            CHIEF: 0,
            WORKER: 1 + self.task_id,
            PS: self.num_worker_replicas + self.task_id,
        }[self.task_type]
        address = cluster[self.task_type][self.task_id]
        self.master = (
            "" if self.task_type == PS else f"{self.protocol or 'grpc'}://"
        ) + ("" if self.task_type == PS else address)
        self.evaluation_master = ""

    def _default_session_config(self):
        config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
        if self.task_type in (CHIEF, WORKER) and self.num_ps_replicas:
            # A lost worker does not block the others.
            task = (
                "/job:chief"
                if self.task_type == CHIEF
                else f"/job:worker/task:{self.task_id}"
            )
            config.device_filters.extend(["/job:ps", task])
        return config

    @property
    def ps_devices(self) -> list[str]:
        """Devices of the parameter servers; empty when local."""
        return [
            f"/job:ps/replica:0/task:{task}/device:CPU:0"
            for task in range(self.num_ps_replicas)
        ]

    @property
    def local_session_config(self) -> tf.compat.v1.ConfigProto:
        """Config of sessions in this process alone."""
        config = tf.compat.v1.ConfigProto()
        config.CopyFrom(self.session_config)
        del config.device_filters[:]
        return config

    @property
    def worker_device(self) -> str:
        """Device of this task."""
        return (
            f"/job:{self.task_type}/replica:0/task:{self.task_id}/device:CPU:0"
        )

    def training_device_fn(self):
        """Returns the device function of a training graph; None when local."""
        if self.device_fn is not None or not self.num_ps_replicas:
            return self.device_fn
        return tf.compat.v1.train.replica_device_setter(
            ps_tasks=self.num_ps_replicas,
            worker_device=f"/job:{self.task_type}/task:{self.task_id}",
            cluster=self.cluster_spec,
        )

    def replace(self, **kwargs) -> RunConfig:
        """Returns a copy with other values, as in tf.estimator.

        Args:
            **kwargs: Arguments of the constructor.

        Raises:
            ValueError: There is no such argument.
        """
        replaced = copy.copy(self)
        for name, value in kwargs.items():
            if name.startswith("_") or not hasattr(self, name):
                raise ValueError(f"RunConfig.replace: there is no {name!r}.")
            setattr(replaced, name, value)
        if "save_checkpoints_steps" in kwargs:
            if kwargs.get("save_checkpoints_secs") is None:
                replaced.save_checkpoints_secs = None
        elif kwargs.get("save_checkpoints_secs") is not None:
            replaced.save_checkpoints_steps = None
        return replaced
