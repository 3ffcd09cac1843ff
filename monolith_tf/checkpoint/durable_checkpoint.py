"""A checkpoint whose files are on disk before anything names it."""

from __future__ import annotations

import copy

import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.checkpoint.checkpoint_folder import sync_checkpoint
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint


class DurableCheckpoint(TracedCheckpoint):
    """A `TracedCheckpoint` whose files survive a loss of power.

    TensorFlow closes and renames the files of a checkpoint without
    synchronizing them. This class does that before the callbacks run by which a
    `tf.train.CheckpointManager` names the checkpoint and removes older ones.
    In a graph, checkpoints are written by TensorFlow unchanged.

    Example:
    >>> import tempfile
    >>> checkpoint = DurableCheckpoint(x=tf.Variable(1.0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manager = tf.train.CheckpointManager(checkpoint, folder, 3)
    ...     path = manager.save()
    """

    def _write(self, file_prefix, options=None):
        """Implements `write`, `save` and the saves of a `CheckpointManager`.

        Args:
            file_prefix: Path of the checkpoint.
            options: `tf.train.CheckpointOptions`, or None.

        Returns:
            The path.
        """
        if not tf.executing_eagerly():
            return super()._write(file_prefix, options)
        callbacks = getattr(options, "experimental_write_callbacks", None)
        if callbacks:
            options = copy.copy(options)
            options.experimental_write_callbacks = None
        path = super()._write(file_prefix, options)
        path = path.numpy().decode() if hasattr(path, "numpy") else path
        sync_checkpoint(path)
        failpoints.hit("durable_checkpoint.after_fsync")
        for callback in callbacks or ():
            callback(path)
        return path
