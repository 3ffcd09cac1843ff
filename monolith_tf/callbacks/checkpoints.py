"""Checkpoints of a model during `fit`, and restarts from them."""

from __future__ import annotations

import logging
import os

import tensorflow as tf
import tf_keras

from monolith_tf import failpoints
from monolith_tf.checkpoint.checkpoint_folder import CheckpointFolder
from monolith_tf.checkpoint.checkpoint_folder import is_damage
from monolith_tf.checkpoint.durable_checkpoint import DurableCheckpoint
from monolith_tf.checkpoint.restore_scope import restoring
from monolith_tf.errors import CheckpointError
from monolith_tf.errors import in_one_line
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.writers import fence_older
from monolith_tf.snapshots.writer_epoch import WriterEpoch

_log = logging.getLogger(__name__)


class Checkpoints(tf_keras.callbacks.Callback):
    """Saves the whole model at the end of epochs, rows included.

    A restarted program continues from its last checkpoint: `restore` reads it
    and returns its epoch. A checkpoint contains dense weights, rows with their
    slots, the counts of admission and the optimizer. When its files are on
    disk, the file `checkpoint` names it, and older ones are removed. Under
    `ParameterServerStrategy` each server writes its own part, so the directory
    must be on a file system that all servers share. A checkpoint of N servers
    restores on M.

    Args:
        model: A Keras model, compiled.
        directory: Folder of the checkpoints.
        max_to_keep: Number of latest checkpoints to keep.
        every_epochs: Epochs from one checkpoint to the next.

    Raises:
        ValueError: The model is not compiled, or a number is below 1.

    Example:
    >>> import tempfile, tf_keras
    >>> import monolith_tf as mt
    >>> embedding = mt.layers.DynamicEmbedding(mt.TableConfig("movie", 2))
    >>> model = tf_keras.Sequential([embedding, tf_keras.layers.Dense(1)])
    >>> model.compile(mt.optimizers.with_tables("adam"), "mse")
    >>> ids, labels = tf.constant([1, 2], tf.int64), tf.constant([0.0, 1.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = mt.callbacks.Checkpoints(model, folder)
    ...     history = model.fit(ids, labels, epochs=3, verbose=0,
    ...                         initial_epoch=checkpoints.restore(),
    ...                         callbacks=[checkpoints])
    ...     checkpoints.restore()
    3
    """

    def __init__(
        self,
        model,
        directory: str | os.PathLike[str],
        max_to_keep: int = 3,
        every_epochs: int = 1,
    ):
        """Reads and writes nothing yet."""
        super().__init__()
        for name, value in (
            ("max_to_keep", max_to_keep),
            ("every_epochs", every_epochs),
        ):
            if value < 1:
                raise ValueError(
                    f"Checkpoints needs {name} of at least 1. Received: "
                    f"{name}={value}."
                )
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                "Checkpoints needs a compiled model, because it saves the "
                "optimizer. Received: a model without an optimizer. Call "
                "model.compile first."
            )
        self._of_model = model
        self._every_epochs = every_epochs
        self._num_epochs = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = DurableCheckpoint(
            model=model,
            optimizer=model.optimizer,
            num_epochs=self._num_epochs,
        )
        self._folder = CheckpointFolder(directory)
        self._folder.repair_state()
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, os.fspath(directory), max_to_keep
        )

    @property
    def latest(self) -> str | None:
        """Path of the last checkpoint, or None."""
        return self._manager.latest_checkpoint

    def restore(
        self, path: str | None = None, *, allow_fresh: bool = False
    ) -> int:
        """Reads a checkpoint into the model.

        Without a path that is the newest whole one: an older one is read, and
        the damage is logged, if files of the latest are damaged or missing.

        Under a `ParameterServerStrategy` the servers free the tables of chiefs
        that were started earlier.

        Args:
            path: Path of the checkpoint; None for the latest.
            allow_fresh: Returns 0 where no checkpoint is whole, although files
                of checkpoints exist.

        Returns:
            The number of epochs trained before it was saved, for
            `initial_epoch` of `fit`; 0 if there is no checkpoint.

        Raises:
            CheckpointError: Files of checkpoints exist, and none is whole.
        """
        self._take_over()
        if path is not None:
            return self._read(path)
        damaged = []
        for prefix in self._folder.prefixes():
            try:
                return self._read(prefix)
            except (tf.errors.OpError, IndexError) as error:
                if not is_damage(error):
                    raise
                damaged.append(prefix)
                _log.error(
                    "Passing over checkpoint %s: %s", prefix, in_one_line(error)
                )
        if self._folder.has_been_used() and not allow_fresh:
            raise CheckpointError(
                f"{self._folder.directory!r} has files of checkpoints, and "
                f"none is whole. Damaged: {damaged}. Restore a copy of the "
                "directory, or pass allow_fresh=True to begin with the model "
                "as it is."
            )
        return 0

    def _read(self, path: str) -> int:
        with restoring(self._of_model):
            failpoints.hit("checkpoints.before_restore")
            # Variables that are created later, such as those of a model that is
            # not built yet, get their values on creation.
            self._checkpoint.read(path).assert_existing_objects_matched()
            failpoints.hit("checkpoints.after_restore")
        return int(self._num_epochs.numpy())

    def _take_over(self) -> None:
        """Frees what older chiefs left on parameter servers."""
        table_sets = {table.table_set for table in tables_of(self._of_model)}
        if any(table_set.strategy is not None for table_set in table_sets):
            epoch = WriterEpoch(self._folder.directory).number
            fence_older(table_sets, epoch)

    def save(self, num_epochs: int) -> str:
        """Writes a checkpoint.

        Args:
            num_epochs: Number of finished epochs.

        Returns:
            Its path.
        """
        self._num_epochs.assign(num_epochs)
        failpoints.hit("checkpoints.before_save")
        path = self._manager.save(checkpoint_number=num_epochs)
        self._folder.sync_state()
        failpoints.hit("checkpoints.after_save")
        return path

    def on_epoch_end(self, epoch, logs=None):
        """Writes a checkpoint every `every_epochs` epochs."""
        if (epoch + 1) % self._every_epochs == 0:
            self.save(epoch + 1)
