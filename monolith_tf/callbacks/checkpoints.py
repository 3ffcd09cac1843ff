"""Checkpoints of a model during `fit`, and restarts from them."""

from __future__ import annotations

import os

import tensorflow as tf
import tf_keras

from monolith_tf import failpoints
from monolith_tf.checkpoint import checkpoint_state
from monolith_tf.checkpoint.durable_manager import DurableManager
from monolith_tf.checkpoint.restore_scope import restoring
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint


class Checkpoints(tf_keras.callbacks.Callback):
    """Saves the whole model at the end of epochs, rows included.

    A restarted program continues from its last checkpoint: `restore` reads it
    and returns its epoch. A checkpoint contains dense weights, rows with their
    slots, the counts of admission and the optimizer. It is named as the latest
    once all of it is on disk, and only then older ones are deleted. Under
    `ParameterServerStrategy` each server writes its own part, so the directory
    must be on a file system that the chief and all servers share. A checkpoint
    of N servers restores on M.

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
        self._checkpoint = TracedCheckpoint(
            model=model,
            optimizer=model.optimizer,
            num_epochs=self._num_epochs,
        )
        self._directory = os.fspath(directory)
        self._max_to_keep = max_to_keep
        self._manager = None

    @property
    def latest(self) -> str | None:
        """Path of the last checkpoint, or None.

        Raises:
            CheckpointError: As in `restore`.
        """
        return self._managed().latest_checkpoint

    def restore(
        self, path: str | None = None, allow_fresh: bool = False
    ) -> int:
        """Reads a checkpoint into the model.

        The latest is the one that the file `checkpoint` of the directory names.
        If that file or that checkpoint is damaged, a warning says so, and the
        newest whole checkpoint is read. All of it is read twice, because its
        checksums are verified before the model changes.

        Args:
            path: Path of the checkpoint; None for the latest.
            allow_fresh: Whether to begin from nothing if there are checkpoints
                and none is whole.

        Returns:
            The number of epochs trained before it was saved, for
            `initial_epoch` of `fit`; 0 if there is no checkpoint.

        Raises:
            CheckpointError: There are checkpoints, and none is whole.
        """
        if path is None:
            self._manager = None
            path = self._managed(allow_fresh).latest_checkpoint
        if path is None:
            return 0
        with restoring(self._of_model):
            failpoints.hit("checkpoints.before_restore")
            # Variables that are created later, such as those of a model that is
            # not built yet, get their values on creation.
            self._checkpoint.read(path).assert_existing_objects_matched()
            failpoints.hit("checkpoints.after_restore")
        return int(self._num_epochs.numpy())

    def save(self, num_epochs: int) -> str:
        """Writes a checkpoint.

        Args:
            num_epochs: Number of finished epochs, which numbers the
                checkpoint. If the directory has a checkpoint of that or a
                higher number, it gets the next higher number.

        Returns:
            Its path.

        Raises:
            CheckpointError: `restore` was not called, there are checkpoints,
                and none is whole.
            OSError: The disk is full or fails. The latest checkpoint is the
                one before.
        """
        manager = self._managed()
        self._num_epochs.assign(num_epochs)
        used = max(checkpoint_state.numbered(self._directory), default=0)
        failpoints.hit("checkpoints.before_save")
        path = manager.save(checkpoint_number=max(num_epochs, used + 1))
        failpoints.hit("checkpoints.after_save")
        return path

    def _managed(self, allow_fresh: bool = False) -> DurableManager:
        """Returns the manager, made of whole checkpoints only."""
        if self._manager is None:
            latest = checkpoint_state.newest_whole(self._directory, allow_fresh)
            if latest is None:
                checkpoint_state.forget(self._directory)
            self._manager = DurableManager(
                self._checkpoint, self._directory, self._max_to_keep
            )
        return self._manager

    def on_epoch_end(self, epoch, logs=None):
        """Writes a checkpoint every `every_epochs` epochs."""
        if (epoch + 1) % self._every_epochs == 0:
            self.save(epoch + 1)
