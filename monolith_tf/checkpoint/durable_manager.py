"""A manager of checkpoints that outlive a power cut."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.checkpoint import checkpoint_state
from monolith_tf.checkpoint import durable_files


class DurableManager(tf.train.CheckpointManager):
    """A `tf.train.CheckpointManager` of a `TracedCheckpoint`.

    A checkpoint is durable before it is named as the latest, and that before
    older ones are deleted. Checkpoints of killed saves, which are newer than
    the latest and named nowhere, are the first to be deleted.

    Example:
    >>> import tempfile
    >>> from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint
    >>> checkpoint = TracedCheckpoint(value=tf.Variable(1.0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manager = DurableManager(checkpoint, folder, max_to_keep=2)
    ...     manager.save().endswith("ckpt-1")
    True
    """

    def __init__(self, checkpoint, directory, max_to_keep):
        """Reads the names of the checkpoints that are kept."""
        super().__init__(checkpoint, directory, max_to_keep)
        found = list(checkpoint_state.numbered(directory).values())
        if self.latest_checkpoint in found:
            newer = found[found.index(self.latest_checkpoint) + 1 :]
            for path in newer:
                self._maybe_delete[path] = 0.0
                self._maybe_delete.move_to_end(path, last=False)

    def save(self, checkpoint_number=None, check_interval=True, options=None):
        """Writes a checkpoint; see `tf.train.CheckpointManager`."""
        with durable_files.saving_in(self.directory):
            return super().save(checkpoint_number, check_interval, options)

    def _record_state(self):
        kept = self._maybe_delete
        checkpoint_state.write_state(
            self.directory,
            self.latest_checkpoint,
            list(kept),
            list(kept.values()),
            self._last_preserved_timestamp,
        )
