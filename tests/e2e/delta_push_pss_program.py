"""Part of `cluster_program.py`: `DeltaPush` feeds a model server in `fit`.

After `fit` every served row and dense variable must equal the trainer's.
"""

from __future__ import annotations

import threading

import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import serving

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


def run(cluster, strategy, coordinator, directory):
    """Trains, compares, and returns what was pushed."""
    del cluster, coordinator
    folder = directory / "delta_push"
    with strategy.scope():
        ids = tf_keras.Input([], dtype="int64", name="movie_id")
        config = mt.TableConfig("pushed", 4)
        rows = mt.layers.DynamicEmbedding(config)(ids)
        score, weights = Score()(rows)
        model = tf_keras.Model(ids, {"score": score, "weights": weights})
        model.compile(mt.optimizers.with_tables("adam"), {"score": "mse"})
    record = serving.export_saved_model(model, folder / "models")
    with (
        serving.ModelServer(
            {"ranker": str(folder / "models")}, port=0
        ) as server,
        serving.PredictionClient(
            f"127.0.0.1:{server.port}", timeout_seconds=600.0
        ) as client,
    ):
        push = mt.callbacks.DeltaPush(
            client.address,
            "ranker",
            folder / "log",
            record,
            options=serving.PushOptions(
                timeout_seconds=600.0, flush_timeout_seconds=600.0
            ),
        )
        model.fit(
            tf_keras.utils.experimental.DatasetCreator(make_dataset),
            steps_per_epoch=60,
            epochs=2,
            verbose=0,
            callbacks=[push],
        )
        compare(client, model)
        return {
            "metrics": push.metrics.as_dict(),
            "threads": [thread.name for thread in threading.enumerate()],
        }


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
