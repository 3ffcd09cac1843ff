"""The strategy of a program that runs in every role of a cluster."""

from __future__ import annotations

import os

import tensorflow as tf

from monolith_tf.cluster import roles


def parameter_server_strategy(
    variable_partitioner=None,
) -> tf.distribute.Strategy:
    """Returns the chief's strategy; in other roles serves until stopped.

    The environment variable `TF_CONFIG` names the role of the process. The same
    program runs under `monolith-tf launch` on one machine, on many machines
    with one `TF_CONFIG` each, and alone without it.

    Args:
        variable_partitioner: Argument of
            `tf.distribute.ParameterServerStrategy` that splits large dense
            variables over the servers.

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
            "TF_CONFIG needs the task 'chief', 'worker' or 'ps'. Received: "
            f"task {role!r} {index}. A Keras program has no other roles: its "
            "chief evaluates."
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
