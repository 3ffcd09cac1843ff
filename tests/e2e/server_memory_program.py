"""Asks a parameter server many times; prints how much larger it got.

python server_memory_program.py [CALLS]

Prints one line of JSON: KiB a call by what was asked, under "kept" as this
library asks, under "eager" by eager calls of the same ops.
"""

import json
import sys

import tensorflow as tf

import monolith_tf as mt
from monolith_tf.serving.trainer_state import TrainerState

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000


def kibibytes(pid):
    """What a process has in memory."""
    with open(f"/proc/{pid}/status") as file:
        (line,) = [line for line in file if line.startswith("VmRSS:")]
    return int(line.split()[1])


def grown(pid, call):
    """KiB that a process grows by with a call, once it knows it."""
    for _ in range(CALLS):
        call()
    before = kibibytes(pid)
    for _ in range(CALLS):
        call()
    return (kibibytes(pid) - before) / CALLS


def main():
    """Starts a server and asks it."""
    with mt.cluster.LocalCluster() as cluster:
        strategy = tf.distribute.ParameterServerStrategy(
            cluster.cluster_resolver
        )
        with strategy.scope():
            table = mt.Table(mt.TableConfig("movie", dim=4))
            dense = tf.Variable(tf.zeros([1000]))
        (server,) = [
            child.pid
            for child in cluster.children
            if child.name.startswith("ps")
        ]
        table_set = table.table_set
        trainer = TrainerState(table_set, [dense])
        cut = table_set.start_deltas()[0]
        ids = tf.range(100, dtype=tf.int64)
        table.apply_gradients(ids, tf.ones([100, 4]))

        def take_delta():
            # The same rows again and again: the acknowledged cut stays.
            delta = table_set.take_delta(0, cut)
            assert len(delta.tables["movie"].ids) == 100

        def take_delta_eagerly():
            with tf.device(table_set.devices[0]):
                taken = mt.ops.take_delta(
                    table_set.handles[0],
                    tf.constant(cut, tf.int64),
                    tables=["movie"],
                    dims=[4],
                )
            tf.nest.map_structure(lambda one: one.numpy(), taken)

        kept = {
            "take_delta": grown(server, take_delta),
            "dense": grown(server, trainer._read_dense),
            "stats": grown(server, lambda: mt.metrics.stats(table)),
            "request_counts": grown(
                server, lambda: mt.metrics.request_counts(table)
            ),
            "generations": grown(server, table_set.generations),
        }
        eager = {
            "take_delta": grown(server, take_delta_eagerly),
            "dense": grown(server, lambda: tf.convert_to_tensor(dense).numpy()),
        }
    print(json.dumps({"kept": kept, "eager": eager}))


if __name__ == "__main__":
    main()
