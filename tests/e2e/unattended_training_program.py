"""A chief that trains with `fit` and goes on where its checkpoint was.

python unattended_training_program.py DIRECTORY EPOCHS

Prints a line an epoch; what it trained goes to DIRECTORY/report.json. The last
epoch begins when there is a file DIRECTORY/may_end.
"""

import json
import pathlib
import sys
import time

import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt

IDS = 64
STEPS = 40


def make_dataset(context=None):
    """Ids whose label is their last bit, without an end."""
    del context

    def batch(i):
        ids = tf.random.stateless_uniform([32], [1, i], 0, IDS, tf.int64)
        return ids, tf.cast(ids % 2, tf.float32)[:, None]

    return tf.data.Dataset.range(10**9).map(batch)


def main():
    """Trains, or goes on."""
    directory, num_epochs = pathlib.Path(sys.argv[1]), int(sys.argv[2])

    def hold_the_last(epoch, logs=None):
        del logs
        if epoch < num_epochs - 1 or (directory / "may_end").exists():
            return
        print("all but the last epoch are done", flush=True)
        while not (directory / "may_end").exists():
            time.sleep(0.05)

    with mt.cluster.exit_for_restart():
        strategy = mt.cluster.parameter_server_strategy()
        with strategy.scope():
            inputs = tf_keras.Input([], dtype="int64")
            rows = mt.layers.DynamicEmbedding(
                mt.TableConfig("id", 4, optimizer=mt.optimizers.Adagrad(0.5))
            )
            outputs = tf_keras.layers.Dense(1, "sigmoid")(rows(inputs))
            model = tf_keras.Model(inputs, outputs)
            model.compile(
                mt.optimizers.with_tables("adam"), "binary_crossentropy"
            )
        checkpoints = mt.callbacks.Checkpoints(model, directory / "checkpoints")
        first = checkpoints.restore()
        print(f"begins at epoch {first}", flush=True)
        model.fit(
            tf_keras.utils.experimental.DatasetCreator(make_dataset),
            initial_epoch=first,
            epochs=num_epochs,
            steps_per_epoch=STEPS,
            verbose=0,
            callbacks=[
                checkpoints,
                tf_keras.callbacks.LambdaCallback(
                    on_epoch_begin=hold_the_last,
                    on_epoch_end=lambda epoch, _: print(
                        f"epoch {epoch + 1} done", flush=True
                    ),
                ),
            ],
        )
        predictions = model(tf.range(IDS, dtype=tf.int64)).numpy()[:, 0]
        report = {
            "steps": int(model.optimizer.iterations.numpy()),
            "rows": rows.table.size(),
            "right": float(((predictions > 0.5) == np.arange(IDS) % 2).mean()),
        }
    (directory / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
