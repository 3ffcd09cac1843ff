"""The ids at every edge, all the way: train, export, delta, tombstone, Predict.

What the server answers over gRPC is compared with the trainer bit for bit:
rows that were trained, rows that nobody trained, and dense variables.
"""

from __future__ import annotations

import types

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.serving.graph.reserved_ids import DELETED_ID
from monolith_tf.serving.graph.reserved_ids import EMPTY_ID

MODEL = "ranker"
EXTREMES = np.array(
    [0, -1, -(2**63), 2**63 - 1, EMPTY_ID, DELETED_ID], np.int64
)
NEIGHBOURS = np.array(
    [1, -2, 1 - 2**63, 2**63 - 2, EMPTY_ID + 1, DELETED_ID - 1], np.int64
)
IDS = np.concatenate([EXTREMES, NEIGHBOURS])
DIM = 3


class Score(tf_keras.layers.Layer):
    """Scores rows, and shows the weights that it did so with."""

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", [DIM], initializer="ones")

    def call(self, rows):
        shown = tf.tile(self.kernel[None], [tf.shape(rows)[0], 1])
        return tf.reduce_sum(rows * shown, axis=1), shown


def make_trainer_of(initializer, base_path):
    with mt.TableSet(num_shards=2):
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "movie",
                DIM,
                optimizer=mt.optimizers.Adam(learning_rate=0.1),
                initializer=initializer,
                seed=7,
            )
        )
        ids = tf_keras.Input([], dtype="int64", name="movie_id")
        rows = layer(ids)
        score, weights = Score()(rows)
        model = tf_keras.Model(
            ids, {"score": score, "rows": rows, "weights": weights}
        )
        model.compile(mt.optimizers.with_tables("adam"), {"score": "mse"})
    return types.SimpleNamespace(
        model=model,
        table=layer.tables[0],
        weights=model.layers[-1].kernel,
        export=lambda path: mt.serving.export_saved_model(model, path),
    )


def train(trainer):
    trainer.model.fit(
        tf.constant(EXTREMES),
        {"score": tf.range(1.0, 1.0 + len(EXTREMES))},
        batch_size=4,
        epochs=2,
        verbose=0,
    )


def assert_same_bits(client, trainer, num_live):
    served = client.predict(MODEL, {"ids": IDS}, "monolith_lookup_0").outputs
    rows = trainer.table.lookup(tf.constant(IDS)).numpy()
    assert served["rows"].tobytes() == rows.tobytes()
    assert served["exists"].tolist() == [1] * num_live + [0] * (
        len(IDS) - num_live
    )
    assert trainer.table.size() == num_live
    answer = client.predict(MODEL, {"movie_id": IDS}).outputs
    assert answer["rows"].tobytes() == rows.tobytes()
    weights = np.tile(trainer.weights.numpy(), (len(IDS), 1))
    assert answer["weights"].tobytes() == weights.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "initializer",
    [
        mt.initializers.Zeros(),
        mt.initializers.Constant(0.25),
        mt.initializers.RandomUniform(-0.1, 0.1),
        mt.initializers.TruncatedNormal(stddev=0.1),
    ],
    ids=lambda initializer: initializer.kind,
)
def test_every_extreme_id_and_its_neighbour_go_all_the_way(
    initializer, base_path, make_server, make_client, make_pusher
):
    trainer = make_trainer_of(initializer, base_path)
    train(trainer)
    trained = trainer.table.lookup(tf.constant(IDS)).numpy()
    record = trainer.export(base_path)
    server = make_server()
    client = make_client(server)
    assert_same_bits(client, trainer, num_live=6)
    pusher = make_pusher(server, record, source=trainer)

    train(trainer)
    assert pusher.push().rows == 6
    assert_same_bits(client, trainer, num_live=6)
    moved = trainer.table.lookup(tf.constant(IDS)).numpy() != trained
    assert moved[:6].all() and not moved[6:].any()

    trainer.table.remove(tf.constant(EXTREMES))
    assert pusher.push().tombstones == 6
    assert_same_bits(client, trainer, num_live=0)

    train(trainer)
    assert pusher.push().delivered
    assert_same_bits(client, trainer, num_live=6)
