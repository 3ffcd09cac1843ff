"""A saver of TensorFlow 1 whose files are on disk before it names them."""

from __future__ import annotations

import os

import tensorflow as tf

from monolith_tf.checkpoint.checkpoint_folder import CheckpointFolder
from monolith_tf.checkpoint.checkpoint_folder import sync_checkpoint


class DurableSaver(tf.compat.v1.train.Saver):
    """A `tf.compat.v1.train.Saver` whose checkpoints survive a loss of power.

    TensorFlow's saver names a checkpoint, and then removes older ones, when its
    files are closed. This one synchronizes them first.
    """

    def _RecordLastCheckpoint(self, latest_save_path):  # noqa: N802
        """Runs in `save` when the files are written, before they are named."""
        sync_checkpoint(latest_save_path)
        super()._RecordLastCheckpoint(latest_save_path)

    def save(self, sess, save_path, *args, **kwargs):
        """Saves as `tf.compat.v1.train.Saver.save`, durably.

        Args:
            sess: The session.
            save_path: Prefix of the checkpoints.
            *args: As there.
            **kwargs: As there.

        Returns:
            The path of the checkpoint.
        """
        path = super().save(sess, save_path, *args, **kwargs)
        CheckpointFolder(os.path.dirname(save_path) or ".").sync_state()
        return path
