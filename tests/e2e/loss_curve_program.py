"""Trains step by step and writes the loss of each, and predictions at the end.

python loss_curve_program.py REPORT.json [estimator]

On the cluster that TF_CONFIG names, or in one process without it; by `fit`, or
as the Estimator of the same model.
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
        label = tf.cast(tf.reduce_any(tf.equal(ids % 3, 0), axis=1), tf.float32)
        return {"a": ids[:, 0], "b": ids[:, 1]}, label[:, None]

    return tf.data.Dataset.range(10**6).map(batch)


def build():
    """A model with two tables and a dense part."""
    inputs = {
        name: tf_keras.Input([], dtype="int64", name=name)
        for name in ("a", "b")
    }
    vectors = mt.layers.EmbeddingCollection(
        [
            mt.FeatureConfig(
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
    return model


def write(report, losses, model):
    """Writes the report."""
    inputs, _ = next(iter(make_dataset(None).skip(STEPS)))
    predictions = model(inputs).numpy()[:, 0].tolist()
    report.write_text(
        json.dumps({"losses": losses, "predictions": predictions})
    )


def fit(report):
    """Trains with `fit`, an epoch a step."""
    strategy = mt.cluster.parameter_server_strategy()
    with strategy.scope():
        model = build()
    history = model.fit(
        tf_keras.utils.experimental.DatasetCreator(make_dataset),
        steps_per_epoch=1,
        epochs=STEPS,
        verbose=0,
    )
    write(report, history.history["loss"], model)


class Record(tf.compat.v1.train.SessionRunHook):
    """Keeps the losses."""

    def __init__(self):
        self.losses = []

    def begin(self):
        # What the summary of the loss is made of.
        graph = tf.compat.v1.get_default_graph()
        _, self._loss = graph.get_operation_by_name("loss").inputs

    def before_run(self, run_context):
        return tf.compat.v1.train.SessionRunArgs(self._loss)

    def after_run(self, run_context, run_values):
        self.losses.append(float(run_values.results))


def estimate(report):
    """Trains as an Estimator, and goes back to Keras."""
    model, record = build(), Record()
    estimator = estimators.model_to_estimator(
        model, model_dir=str(report.parent / "model")
    )
    estimators.train_and_evaluate(
        estimator,
        estimators.TrainSpec(
            lambda: make_dataset(None), max_steps=STEPS, hooks=[record]
        ),
        estimators.EvalSpec(lambda: make_dataset(None), steps=1),
    )
    estimator.restore_into(model)
    write(report, record.losses, model)


if __name__ == "__main__":
    (estimate if "estimator" in sys.argv else fit)(pathlib.Path(sys.argv[1]))
