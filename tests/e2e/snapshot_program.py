"""A chief under parameter servers that takes snapshots while it trains.

python snapshot_program.py DIRECTORY EPOCHS [partial]

Each row and the dense weight count the steps, so a snapshot of one moment has
the same count everywhere. Prints a line per epoch; goes on where the last
snapshot was; with "partial" only what servers have lost is read. Writes
DIRECTORY/report.json.
"""

import json
import pathlib
import sys

import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.placement.sharding import owners_of

IDS = 32
STEPS = 50


def make_dataset(context=None):
    """Every id once, in every batch."""
    del context
    ids = tf.range(IDS, dtype=tf.int64)
    return tf.data.Dataset.from_tensors((ids, tf.zeros([IDS]))).repeat()


class Counting(tf_keras.layers.Layer):
    """Adds a weight whose gradient is 1."""

    def build(self, shape):
        self.weight = self.add_weight("weight", (), initializer="zeros")

    def call(self, rows):
        return rows[:, 0] + self.weight / IDS


def main():
    """Trains, or goes on."""
    directory, num_epochs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    partial = sys.argv[3:] == ["partial"]
    with mt.cluster.exit_for_restart():
        strategy = mt.cluster.parameter_server_strategy()
        with strategy.scope():
            inputs = tf_keras.Input([], dtype="int64")
            embedding = mt.layers.DynamicEmbedding(
                mt.TableConfig(
                    "id",
                    1,
                    optimizer=mt.optimizers.SGD(1.0),
                    initializer=mt.initializers.Zeros(),
                )
            )
            counting = Counting()
            model = tf_keras.Model(inputs, counting(embedding(inputs)))
            model.compile(
                mt.optimizers.with_tables(tf_keras.optimizers.SGD(1.0)),
                loss=lambda _, y: tf.reduce_sum(y),
            )
        table = embedding.table
        snapshots = mt.callbacks.Snapshots(
            directory / "snapshots", every_seconds=0.2, keep=4, full_every=5
        )
        restored = snapshots.restore(model, partial=partial)
        first = 0 if restored is None else restored.step

        def counts():
            rows = table.lookup(tf.range(IDS, dtype=tf.int64)).numpy()
            return -rows[:, 0], -float(counting.weight)

        if restored is not None:
            rows, weight = counts()
            assert weight == first, (first, weight)
            owners = owners_of(tf.range(IDS, dtype=tf.int64), 2).numpy()
            for _, shard in snapshots.recovery.read:
                assert (rows[owners == shard] == first).all(), (first, rows)
            assert (rows >= first).all(), (first, rows)
            print(
                f"kept {snapshots.recovery.kept}, lost "
                f"{snapshots.recovery.lost_steps} steps",
                flush=True,
            )
        print(f"begins at step {first}", flush=True)

        class Say(tf_keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                print(f"epoch {epoch} is done", flush=True)

        model.fit(
            tf_keras.utils.experimental.DatasetCreator(make_dataset),
            steps_per_epoch=STEPS,
            initial_epoch=first // STEPS,
            epochs=num_epochs,
            verbose=0,
            callbacks=[snapshots, Say()],
        )
        rows, weight = counts()
        steps = int(model.optimizer.iterations)
        report = {
            "first": first,
            "steps": steps,
            "rows": sorted(set(rows.tolist())),
            "weight": weight,
            "failed": snapshots.num_failed,
            "latest": snapshots.latest.step,
        }
        (directory / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
