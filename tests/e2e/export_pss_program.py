"""Part of `cluster_program.py`: exports from a callback of `fit`.

Reports the answers of the trainer at the export and after more training.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import serving

IDS = [1, 2, 3, -7, 2**62]


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


def run(cluster, strategy, coordinator, directory):
    """Trains two epochs; the export is DIRECTORY/exports/1."""
    del cluster, coordinator
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
    export = Export(directory / "exports")
    model.fit(
        dataset, steps_per_epoch=5, epochs=2, verbose=0, callbacks=[export]
    )
    devices = sorted({variable.device for variable in model.variables})
    return {"answers": export.answers, "devices": devices}
