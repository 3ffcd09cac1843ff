"""Trains on a table set of another device; prints what ran where, as JSON.

Two CPUs of one process stand for a worker and a parameter server: TensorFlow
cuts a graph into parts at the same edges for both.
"""

import collections
import json

import tensorflow as tf
from tensorflow.python.eager import context

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

import monolith_tf as mt  # noqa: E402
from monolith_tf import table_set  # noqa: E402

WORKER, SERVER = "/device:CPU:0", "/device:CPU:1"
table_set._local_cpu = lambda: SERVER
IDS = tf.constant([4, 4, 9], tf.int64)


def directly(layer, ids):
    """Reads."""
    return list(layer(ids).values())


def in_a_function(layer, ids):
    """Reads in a function of its own."""
    return tf.function(lambda ids: directly(layer, ids))(ids)


def in_a_branch(layer, ids):
    """Reads if a condition holds that only the data knows."""
    return tf.cond(
        IDS[0] + tf.cast(tf.timestamp(), tf.int64) > 0,
        lambda: directly(layer, ids),
        lambda: [tf.zeros([3, 2])] * len(ids),
    )


def run(read, num_tables):
    """Runs one step.

    Returns:
        Per device how often each op is in the graph that ran, and the rows of
        the first table.
    """
    names = [f"table_{number}" for number in range(num_tables)]
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.Feature(
                    name,
                    mt.TableConfig(
                        name,
                        dim=2,
                        optimizer=mt.optimizers.SGD(1.0),
                        initializer=mt.initializers.Constant(1.0),
                    ),
                )
                for name in names
            ]
        )
    optimizer = mt.optimizers.with_tables("sgd")
    variables = layer.trainable_variables

    @tf.function(autograph=False)
    def step(ids):
        with tf.device(WORKER):
            with tf.GradientTape() as tape:
                vectors = read(layer, ids)
                loss = tf.add_n([tf.reduce_sum(v * v) / 2 for v in vectors])
            optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )
            return loss

    context.enable_run_metadata()
    try:
        step(dict.fromkeys(names, IDS))
        metadata = context.export_run_metadata()
    finally:
        context.disable_run_metadata()
    ops = {WORKER: collections.Counter(), SERVER: collections.Counter()}
    for graph in metadata.partition_graphs:
        counts = collections.Counter(node.op for node in graph.node)
        # Ops that ran eagerly before are graphs of one op.
        if "_Send" in counts:
            device = graph.node[0].device
            ops[WORKER if device.endswith(WORKER) else SERVER] += counts
    rows = layer.tables[0].lookup([4, 9, 7]).numpy().tolist()
    return {"worker": ops[WORKER], "server": ops[SERVER], "rows": rows}


if __name__ == "__main__":
    context.context().ensure_initialized()
    print(
        json.dumps(
            {
                read.__name__: {n: run(read, n) for n in (1, 5)}
                for read in (directly, in_a_function, in_a_branch)
            }
        )
    )
