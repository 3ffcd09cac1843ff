"""The strategy of a program that runs in every role of a cluster."""

from __future__ import annotations

import os

import tensorflow as tf

from monolith_tf.cluster import roles


def parameter_server_strategy(
    variable_partitioner=None,
) -> tf.distribute.Strategy:
    """Returns the chief's strategy; in other roles it serves until ended.

    The environment variable `TF_CONFIG` says what this process is. So one
    program runs on one machine under `monolith-tf launch`, on many machines
    with a `TF_CONFIG` each, and without any alone.

    Args:
        variable_partitioner: What `tf.distribute.ParameterServerStrategy`
            takes, to split large dense variables over the servers.

    Returns:
        A `ParameterServerStrategy` in the chief; without `TF_CONFIG` the
        strategy of one process. In a worker or a parameter server the call
        does not return.

    Raises:
        ValueError: `TF_CONFIG` is malformed, or names another role.

    Example:
    ```python
    strategy = cluster.parameter_server_strategy()
    with strategy.scope():
        model = build()
    ```
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return tf.distribute.get_strategy()
    addresses, role, index = roles.parse_tf_config(text)
    if role == roles.PARAMETER_SERVER:
        roles.run_parameter_server(text)
    if role == roles.WORKER:
        roles.run_worker(text)
    if role != roles.CHIEF:
        raise ValueError(
            f"TF_CONFIG names the task {role!r} {index}; expected 'chief', "
            "'worker' or 'ps'. A Keras program has no other roles: its chief "
            "evaluates."
        )
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    return tf.distribute.ParameterServerStrategy(
        tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(addresses),
            task_type=role,
            task_id=index,
            rpc_layer="grpc",
        ),
        variable_partitioner=variable_partitioner,
    )
