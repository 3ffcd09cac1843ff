"""The chief of benchmarks/recovery.py: trains, prints what it reaches when.

    python recovery_program.py DIRECTORY ROWS DIM PARTIAL

Each line `MARK name seconds` has the wall clock. Runs until it is stopped.
"""

from __future__ import annotations

import sys
import time

import tensorflow as tf
import tf_keras

import monolith_tf as mt

_BATCH = 1 << 16
_STEPS = 4


def mark(name: str) -> None:
    """Prints that something was reached now."""
    print(f"MARK {name} {time.time()}", flush=True)


class _Marks(tf_keras.callbacks.Callback):
    """Marks the first step, and when every id has had a step."""

    def __init__(self, snapshots, num_rows: int):
        super().__init__()
        self._snapshots = snapshots
        self._num_rows = num_rows
        self._has_stepped = False
        self._filled = 0

    def on_epoch_end(self, epoch, logs=None):
        del epoch
        if not self._has_stepped:
            self._has_stepped = True
            mark("step")
        steps = int(self.model.optimizer.iterations)
        latest = self._snapshots.latest
        if latest is None or latest.step * _BATCH < self._num_rows:
            return
        self._filled += 1
        # A snapshot of all rows is durable, and increments follow.
        if self._filled == 3:
            mark(f"filled:{steps}")


def main() -> None:
    """Trains for ever."""
    directory, num_rows, dim, partial = sys.argv[1:]
    mark("imported")
    with mt.cluster.exit_for_restart():
        strategy = mt.cluster.parameter_server_strategy()
        mark("connected")
        with strategy.scope():
            embedding = mt.layers.DynamicEmbedding(
                mt.TableConfig(
                    "id", int(dim), optimizer=mt.optimizers.Adagrad(0.1)
                )
            )
            inputs = tf_keras.Input([], dtype="int64")
            outputs = tf_keras.layers.Dense(1)(embedding(inputs))
            model = tf_keras.Model(inputs, outputs)
            model.compile(mt.optimizers.with_tables("adagrad"), "mse")
        snapshots = mt.callbacks.Snapshots(
            directory, every_seconds=1.0, full_every=10, keep=1
        )
        restored = snapshots.restore(model, partial=bool(int(partial)))
        first = 0 if restored is None else restored.step
        mark("restored")
        if snapshots.recovery is not None:
            recovery = snapshots.recovery
            chain = mt.snapshots.SnapshotStore(directory).chain(restored.number)
            shards = {shard for _, shard in recovery.read}
            num_bytes = sum(
                part.num_bytes
                for snapshot in chain
                for part in snapshot.parts
                if part.shard in shards
            )
            mark(f"kept:{len(recovery.kept)}:{recovery.lost_steps}:{num_bytes}")

        def make_dataset(context=None):
            del context
            steps = tf.data.Dataset.counter(first)
            return steps.map(lambda step: _batch(step, int(num_rows)))

        callback = _Marks(snapshots, int(num_rows))
        model.fit(
            tf_keras.utils.experimental.DatasetCreator(make_dataset),
            steps_per_epoch=_STEPS,
            initial_epoch=first // _STEPS,
            epochs=1 << 30,
            verbose=0,
            callbacks=[snapshots, callback],
        )


def _batch(step: tf.Tensor, num_rows: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Ids in turn until every row exists, then a twentieth of them."""
    is_filled = (step + 1) * _BATCH > num_rows
    num_ids = tf.where(is_filled, tf.cast(num_rows // 20, tf.int64), num_rows)
    ids = (step * _BATCH + tf.range(_BATCH, dtype=tf.int64)) % num_ids
    return ids, tf.ones([_BATCH, 1])


if __name__ == "__main__":
    main()
