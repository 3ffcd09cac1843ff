"""Asks a parameter server many times; reports how much larger it got.

Part of `cluster_program.py`, and a program:

python server_memory_program.py [CALLS]

Prints one line of JSON: KiB per call by what was asked, under "kept" as this
library asks, under "eager" by eager calls of the same ops.
"""

import json
import sys

import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement.sharding import owners_of
from monolith_tf.placement.table_set import servers_of
from monolith_tf.serving.trainer_state import TrainerState


def kibibytes(pid):
    """Returns the resident memory of a process."""
    with open(f"/proc/{pid}/status") as file:
        (line,) = [line for line in file if line.startswith("VmRSS:")]
    return int(line.split()[1])


def grown(pid, call, calls):
    """KiB per call that a process grows by, once it knows the call."""
    for _ in range(calls):
        call()
    before = kibibytes(pid)
    for _ in range(calls):
        call()
    return (kibibytes(pid) - before) / calls


def run(cluster, strategy, coordinator, directory, calls=300):
    """Asks the first server; returns KiB per call."""
    del coordinator, directory
    with strategy.scope(), mt.TableSet():
        table = mt.Table(mt.TableConfig("asked", dim=4))
        dense = tf.Variable(tf.zeros([1000]))
    (server,) = [
        child.pid for child in cluster.children if child.name == "ps 0"
    ]
    table_set = table.table_set
    trainer = TrainerState(table_set, [dense])
    cut = table_set.start_deltas()[0]
    ids = tf.range(100, dtype=tf.int64)
    table.apply_gradients(ids, tf.ones([100, 4]))
    num_ids = int(tf.reduce_sum(tf.cast(owners(ids, table) == 0, tf.int64)))

    def take_delta():
        # The same rows again and again: the acknowledged cut stays.
        delta = table_set.take_delta(0, cut)
        assert len(delta.tables["asked"].ids) == num_ids

    def take_delta_eagerly():
        with tf.device(table_set.devices[0]):
            taken = mt.ops.take_delta(
                servers_of(table_set)[0].handle,
                tf.constant(cut, tf.int64),
                tables=["asked"],
                dims=[4],
            )
        tf.nest.map_structure(lambda one: one.numpy(), taken)

    def measured(asked):
        return {name: grown(server, asked[name], calls) for name in asked}

    return {
        "kept": measured(
            {
                "take_delta": take_delta,
                "dense": trainer._read_dense,
                "stats": lambda: mt.metrics.stats(table),
                "request_counts": lambda: mt.metrics.request_counts(table),
                "generations": table_set.generations,
            }
        ),
        "eager": measured(
            {
                "take_delta": take_delta_eagerly,
                "dense": lambda: tf.convert_to_tensor(dense).numpy(),
            }
        ),
    }


def owners(ids, table):
    """Returns the shard of each id."""
    return owners_of(ids, len(table.table_set.devices))


def main():
    """Starts a server and asks it."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with mt.cluster.LocalCluster() as cluster:
        strategy = tf.distribute.ParameterServerStrategy(
            cluster.cluster_resolver
        )
        print(json.dumps(run(cluster, strategy, None, None, calls)))


if __name__ == "__main__":
    main()
