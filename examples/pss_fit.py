"""Trains with Keras `fit` on parameter servers, and resumes after failures.

monolith-tf launch --num_ps=2 --num_workers=2 examples/pss_fit.py DIR EPOCHS
"""

import pathlib
import sys

import tensorflow as tf
import tf_keras

import monolith_tf as mt


def make_dataset(_):
    """Endless batches of two ids; the label says if one is odd."""

    def batch(_):
        # Without a seed, so that workers draw different ones.
        ids = tf.random.uniform([64, 2], maxval=200, dtype=tf.int64)
        label = tf.cast(tf.reduce_any(ids % 2 > 0, axis=1), tf.float32)
        return {"user": ids[:, 0], "movie": ids[:, 1]}, label[:, None]

    return tf.data.Dataset.range(10**9).map(batch).prefetch(2)


def make_model():
    """A ranker whose tables use four times the dense learning rate."""
    rate = tf.Variable(0.0)
    adagrad = mt.optimizers.Adagrad(rate)
    inputs, features = {}, []
    for name in ("user", "movie"):
        inputs[name] = tf_keras.Input([], dtype="int64", name=name)
        config = mt.TableConfig(name, dim=8, optimizer=adagrad)
        features.append(mt.FeatureConfig(name, config))
    vectors = mt.layers.EmbeddingCollection(features)(inputs)
    both = tf_keras.layers.Concatenate()([*vectors.values()])
    hidden = tf_keras.layers.Dense(32, "relu")(both)
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(1, "sigmoid")(hidden))
    model.compile(
        mt.optimizers.with_tables("adam"),
        "binary_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=4,
    )
    return model


def main():
    """Trains or resumes, then writes an export."""
    folder, num_epochs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    with mt.cluster.exit_for_restart():
        strategy = mt.cluster.parameter_server_strategy()
        with strategy.scope():
            model = make_model()
        checkpoints = mt.callbacks.Checkpoints(model, folder / "saved")
        decay = tf_keras.callbacks.LearningRateScheduler(lambda n: 0.9**n / 50)
        creator = tf_keras.utils.experimental.DatasetCreator(make_dataset)
        model.fit(
            creator,
            steps_per_epoch=40,
            initial_epoch=checkpoints.restore(),
            epochs=num_epochs,
            verbose=2,
            callbacks=[
                decay,
                mt.callbacks.TableLearningRate(factor=4.0),
                checkpoints,
                mt.callbacks.TableSummaries(folder / "logs"),
            ],
        )
        model.evaluate(creator, steps=20, verbose=2)
        mt.serving.export_saved_model(model, folder / "export")


if __name__ == "__main__":
    main()
