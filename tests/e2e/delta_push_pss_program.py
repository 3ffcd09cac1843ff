"""Trains on parameter servers while `DeltaPush` feeds a model server.

Takes a directory; ends with 0 when, after `fit`, every served row and dense
variable equals the trainer's bit for bit. The cluster is in child processes.
"""

from __future__ import annotations

import sys
import threading

import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import serving
from monolith_tf.cluster import LocalCluster

IDS = np.arange(-20, 120, dtype=np.int64)


class Score(tf_keras.layers.Layer):
    """Scores rows, and shows the weights that it did so with."""

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", input_shape[-1:])
        self.bias = self.add_weight("bias", [1])

    def call(self, rows):
        score = tf.linalg.matvec(rows, self.kernel)[:, None] + self.bias
        shown = tf.concat([self.kernel, self.bias], axis=0)
        return score, tf.tile(shown[None], [tf.shape(rows)[0], 1])


def make_dataset(context=None):
    """Batches of 32 ids; both workers hit the same ones."""
    return tf.data.Dataset.range(10**6).map(
        lambda i: (
            tf.random.stateless_uniform([32], [1, i], -10, 100, tf.int64),
            {"score": tf.ones([32, 1])},
        )
    )


def main():
    """Trains, then compares."""
    directory = sys.argv[1]
    with LocalCluster(num_ps=2, num_workers=2) as cluster:
        strategy = tf.distribute.ParameterServerStrategy(
            cluster.cluster_resolver
        )
        with strategy.scope():
            ids = tf_keras.Input([], dtype="int64", name="movie_id")
            rows = mt.layers.DynamicEmbedding(mt.TableConfig("movie", 4))(ids)
            score, weights = Score()(rows)
            model = tf_keras.Model(ids, {"score": score, "weights": weights})
            model.compile(mt.optimizers.with_tables("adam"), {"score": "mse"})
        record = serving.export_saved_model(model, directory + "/models")
        with (
            serving.ModelServer(
                {"ranker": directory + "/models"}, port=0
            ) as server,
            serving.PredictionClient(f"127.0.0.1:{server.port}") as client,
        ):
            push = mt.callbacks.DeltaPush(
                client.address, "ranker", directory + "/log", record
            )
            model.fit(
                tf_keras.utils.experimental.DatasetCreator(make_dataset),
                steps_per_epoch=60,
                epochs=2,
                verbose=0,
                callbacks=[push],
            )
            names = [thread.name for thread in threading.enumerate()]
            if "delta pusher" in names:
                raise SystemExit(f"a thread is left: {names}")
            compare(client, model)
            print(push.metrics.as_dict())


def compare(client, model):
    (table,) = model.layers[1].tables
    served = client.predict("ranker", {"ids": IDS}, "monolith_lookup_0")
    np.testing.assert_array_equal(
        served.outputs["rows"], table.lookup(tf.constant(IDS)).numpy()
    )
    answer = client.predict("ranker", {"movie_id": IDS}).outputs
    score = model.layers[-1]
    weights = np.concatenate([score.kernel.numpy(), score.bias.numpy()])
    assert answer["weights"][0].tobytes() == weights.tobytes()
    np.testing.assert_allclose(
        answer["score"], model(IDS)["score"].numpy(), rtol=1e-6
    )


if __name__ == "__main__":
    main()
