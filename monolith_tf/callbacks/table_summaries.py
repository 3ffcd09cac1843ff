"""Statistics of tables for TensorBoard."""

from __future__ import annotations

import os

import tensorflow as tf
import tf_keras

from monolith_tf.metrics.request_counts import request_counts
from monolith_tf.metrics.table_stats import stats
from monolith_tf.placement.registry import tables_of


class TableSummaries(tf_keras.callbacks.Callback):
    """Writes the statistics of tables at the end of each epoch.

    Scalars per table: `table/NAME/rows`, `/memory_bytes`, `/evicted` (rows
    evicted by time to live or capacity limit), `/rejected` (updates of ids that
    are not admitted) and `/bad_gradients`. Scalars of the servers:
    `updates/partial` and `updates/repeated`, see `mt.metrics.request_counts`.
    The step is the epoch, as for the epoch scalars of
    `tf_keras.callbacks.TensorBoard`.

    Args:
        log_dir: Folder of the event files; may be that of TensorBoard.

    Example:
    ```python
    model.fit(dataset, epochs=3, callbacks=[
        tf_keras.callbacks.TensorBoard("logs"),
        mt.callbacks.TableSummaries("logs/tables")])
    ```
    """

    def __init__(self, log_dir: str | os.PathLike[str]):
        """Writes nothing yet."""
        super().__init__()
        self._log_dir = os.fspath(log_dir)
        self._writer = None

    def on_train_begin(self, logs=None):
        """Opens a file."""
        self._writer = tf.summary.create_file_writer(self._log_dir)

    def on_epoch_end(self, epoch, logs=None):
        """Reads the servers and writes the scalars."""
        if not tables_of(self.model):
            return
        counts = request_counts(self.model)
        with self._writer.as_default(step=epoch):
            for name, numbers in stats(self.model).items():
                for what, value in (
                    ("rows", numbers.num_rows),
                    ("memory_bytes", numbers.memory_bytes),
                    ("evicted", numbers.num_expired + numbers.num_capped),
                    ("rejected", numbers.num_rejected),
                    ("bad_gradients", numbers.num_bad_gradients),
                ):
                    tf.summary.scalar(f"table/{name}/{what}", value)
            tf.summary.scalar("updates/partial", counts.partial)
            tf.summary.scalar("updates/repeated", sum(counts.repeated))
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the file."""
        self._writer.close()
