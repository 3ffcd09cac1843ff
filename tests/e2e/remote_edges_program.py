"""Trains on table sets of other devices; prints what ran where, as JSON.

CPUs of one process stand for a worker and two parameter servers: TensorFlow
cuts a graph into parts at the same edges for both.
"""

import collections
import json
from unittest import mock

import tensorflow as tf
from tensorflow.python.eager import context

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 3,
)

import monolith_tf as mt  # noqa: E402
from monolith_tf.placement import table_set  # noqa: E402
from monolith_tf.step import transport  # noqa: E402

WORKER, SERVER, SECOND = (f"/device:CPU:{number}" for number in range(3))
table_set._local_devices = lambda num_shards: (SERVER, SECOND)[:num_shards]
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


def make(num_tables, dim=2, **table_set_arguments):
    """Returns a layer of so many features, each with a table."""
    names = [f"table_{number}" for number in range(num_tables)]
    with mt.TableSet(**table_set_arguments):
        return mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig(
                    name,
                    mt.TableConfig(
                        name,
                        dim=dim,
                        optimizer=mt.optimizers.SGD(1.0),
                        initializer=mt.initializers.Constant(1.0),
                    ),
                )
                for name in names
            ]
        )


def make_step(layer, read):
    """Returns a function that makes one step on the worker."""
    optimizer = mt.optimizers.with_tables("sgd")
    variables = layer.trainable_variables

    def step(ids):
        with tf.device(WORKER):
            with tf.GradientTape() as tape:
                vectors = read(layer, ids)
                loss = tf.add_n([tf.reduce_sum(v * v) / 2 for v in vectors])
            optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )
            return loss

    return step


def partition_graphs(step, ids):
    """Returns the graphs that TensorFlow cut a step into."""
    context.enable_run_metadata()
    # TensorFlow goes on recording after it is told to stop.
    context.export_run_metadata()
    try:
        tf.function(step, autograph=False)(ids)
        return context.export_run_metadata().partition_graphs
    finally:
        context.disable_run_metadata()


def run(read, num_tables):
    """Runs one step on one server.

    Returns:
        Per device how often each op is in the graph that ran, and the rows of
        the first table.
    """
    layer = make(num_tables)
    ids = {feature.name: IDS for feature in layer.features}
    ops = {WORKER: collections.Counter(), SERVER: collections.Counter()}
    for graph in partition_graphs(make_step(layer, read), ids):
        counts = collections.Counter(node.op for node in graph.node)
        # Ops that ran eagerly before are graphs of one op.
        if "_Send" in counts:
            device = graph.node[0].device
            ops[WORKER if device.endswith(WORKER) else SERVER] += counts
    rows = layer.tables[0].lookup([4, 9, 7]).numpy().tolist()
    return {"worker": ops[WORKER], "server": ops[SERVER], "rows": rows}


def cross(num_features, wire_dtype):
    """Runs one step on two servers; every feature has 100 distinct ids.

    Returns:
        Per server how many tensors cross to it and from it, and their bytes.
    """
    layer = make(num_features, dim=16, num_shards=2, wire_dtype=wire_dtype)
    ids = {
        feature.name: tf.range(100, dtype=tf.int64)
        for feature in layer.features
    }
    step = make_step(layer, directly)
    edges = [collections.Counter(), collections.Counter()]
    for graph in partition_graphs(step, ids):
        for node in graph.node:
            if node.op == "_Recv":
                for number, server in enumerate((SERVER, SECOND)):
                    ends = node.attr
                    to = ends["recv_device"].s.decode().endswith(server)
                    from_ = ends["send_device"].s.decode().endswith(server)
                    edges[number].update(to=to, **{"from": from_})
    return [
        {"edges": of_server, "bytes": num_bytes}
        for of_server, num_bytes in zip(edges, bytes_of(step, ids), strict=True)
    ]


def bytes_of(step, ids):
    """Makes a step op by op, and counts the bytes of what crosses."""
    crossed = [collections.Counter(), collections.Counter()]
    calls = collections.Counter()

    def noting(kind, op):
        def call(handle, packed, *arguments, **options):
            crossed[calls[kind]]["to"] += packed.shape[0] * packed.dtype.size
            calls[kind] += 1
            return op(handle, packed, *arguments, **options)

        return call

    def send(self, floats, num_exact=0):
        message = sent(self, floats, num_exact)
        size = message.shape[0] * message.dtype.size
        if num_exact:
            # Gradients, before the call that takes them.
            crossed[calls["apply"]]["to"] += size
        else:
            # Rows, behind the call that gave them.
            crossed[calls["lookup"] - 1]["from"] += size
        return message

    sent = transport.Wire.send
    with (
        mock.patch.object(transport.Wire, "send", send),
        mock.patch.object(mt.ops, "apply", noting("apply", mt.ops.apply)),
        mock.patch.object(mt.ops, "lookup", noting("lookup", mt.ops.lookup)),
    ):
        step(ids)
    return crossed


if __name__ == "__main__":
    context.context().ensure_initialized()
    print(
        json.dumps(
            {
                **{
                    read.__name__: {n: run(read, n) for n in (1, 5)}
                    for read in (directly, in_a_function, in_a_branch)
                },
                "two servers": {
                    dtype: {n: cross(n, dtype) for n in (26, 52)}
                    for dtype in ("float32", "bfloat16")
                },
            }
        )
    )
