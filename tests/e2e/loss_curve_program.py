"""Trains step by step and writes the loss of each.

python loss_curve_program.py REPORT.json

On the cluster that TF_CONFIG names, or in one process without it.
"""

import json
import pathlib
import sys

import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import estimators

STEPS = 40


def make_dataset(context):
    """The same batches in the same order wherever it runs."""
    del context

    def batch(number):
        ids = tf.random.stateless_uniform([24, 2], [7, number], 0, 99, tf.int64)
        label = tf.cast(tf.reduce_any(ids % 3 == 0, axis=1), tf.float32)
        return {"a": ids[:, 0], "b": ids[:, 1]}, label[:, None]

    return tf.data.Dataset.range(10**6).map(batch)


def main():
    """Trains with `fit`, an epoch a step."""
    strategy = estimators.parameter_server_strategy()
    with strategy.scope():
        inputs = {
            name: tf_keras.Input([], dtype="int64", name=name)
            for name in ("a", "b")
        }
        vectors = mt.layers.EmbeddingCollection(
            [
                mt.Feature(
                    name,
                    mt.TableConfig(
                        name, 8, optimizer=mt.optimizers.Adam(0.05), seed=3
                    ),
                )
                for name in inputs
            ]
        )(inputs)
        hidden = tf_keras.layers.Concatenate()([*vectors.values()])
        for units, activation in ((16, "relu"), (1, "sigmoid")):
            hidden = tf_keras.layers.Dense(
                units,
                activation,
                kernel_initializer=tf_keras.initializers.GlorotUniform(units),
            )(hidden)
        model = tf_keras.Model(inputs, hidden)
        model.compile(
            mt.optimizers.with_tables(tf_keras.optimizers.Adam(0.01)),
            "binary_crossentropy",
        )
    history = model.fit(
        tf_keras.utils.experimental.DatasetCreator(make_dataset),
        steps_per_epoch=1,
        epochs=STEPS,
        verbose=0,
    )
    pathlib.Path(sys.argv[1]).write_text(json.dumps(history.history["loss"]))


if __name__ == "__main__":
    main()
