"""Trains on parameter servers and exports, as a callback of `fit` would.

Takes a directory; writes to standard output, as its last line, one JSON object
with the answers of the trainer at the export and after more training. All
servers are in this one process.
"""

from __future__ import annotations

import json
import socket
import sys

import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import serving

IDS = [1, 2, 3, -7, 2**62]


def start_cluster():
    sockets = [socket.create_server(("localhost", 0)) for _ in range(4)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    addresses = [f"localhost:{port}" for port in ports]
    cluster = tf.train.ClusterSpec(
        {"worker": addresses[:1], "ps": addresses[1:3], "chief": addresses[3:]}
    )
    servers = [
        tf.distribute.Server(
            cluster, job_name=job, task_index=task, protocol="grpc"
        )
        for job, task in [("ps", 0), ("ps", 1), ("worker", 0)]
    ]
    return servers, tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="chief", task_id=0, rpc_layer="grpc"
    )


class Export(tf_keras.callbacks.Callback):
    """Exports at the end of the first epoch, within the strategy's scope."""

    def __init__(self, directory):
        super().__init__()
        self.directory = directory
        self.answers = []

    def on_epoch_end(self, epoch, logs=None):
        ids = tf.constant(IDS, tf.int64)
        self.answers.append(self.model(ids, training=False).numpy().tolist())
        if epoch == 0:
            serving.export_saved_model(self.model, self.directory)


def main():
    """Trains two epochs."""
    servers, resolver = start_cluster()
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    with strategy.scope():
        ids = tf_keras.Input([], dtype="int64", name="movie_id")
        one_bit = mt.precisions.OneBit(0.5, anneal_steps=5)
        config = mt.TableConfig(
            "movie", segments=[mt.Segment(3), mt.Segment(1, precision=one_bit)]
        )
        rows = mt.layers.DynamicEmbedding(config)(ids)
        x = tf_keras.layers.BatchNormalization()(rows)
        score = tf_keras.layers.Dense(1, name="score")(x)
        model = tf_keras.Model(ids, score)
        model.compile(mt.optimizers.with_tables("adam"), "mse")
    batch = tf.constant(IDS, tf.int64), tf.ones([len(IDS), 1])
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    export = Export(sys.argv[1])
    model.fit(
        dataset, steps_per_epoch=5, epochs=2, verbose=0, callbacks=[export]
    )
    devices = sorted({variable.device for variable in model.variables})
    print(json.dumps({"answers": export.answers, "devices": devices}))
    del servers


if __name__ == "__main__":
    main()
