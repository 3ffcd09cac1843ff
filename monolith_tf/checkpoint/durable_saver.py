"""A saver of TensorFlow 1 whose checkpoints outlive a power cut."""

from __future__ import annotations

import os

import tensorflow as tf

from monolith_tf.checkpoint import checkpoint_state
from monolith_tf.checkpoint import durable_files


class DurableSaver(tf.compat.v1.train.Saver):
    """A `tf.compat.v1.train.Saver`, durable before `save` returns.

    A checkpoint is durable before it is named as the latest, and that before
    an older one is deleted.
    """

    def save(
        self,
        sess,
        save_path,
        global_step=None,
        latest_filename=None,
        meta_graph_suffix="meta",
        write_meta_graph=True,
        write_state=True,
        strip_default_attrs=False,
        save_debug_info=False,
    ):
        """Writes a checkpoint; see `tf.compat.v1.train.Saver`."""
        directory = os.path.dirname(save_path)
        with durable_files.saving_in(directory or "."):
            path = super().save(
                sess,
                save_path,
                global_step,
                latest_filename,
                meta_graph_suffix,
                write_meta_graph,
                False,
                strip_default_attrs,
                save_debug_info,
            )
            if path is None:
                return path
            durable_files.sync_checkpoint(path)
            if write_state:
                self._RecordLastCheckpoint(path)
                checkpoint_state.write_state(
                    directory,
                    path,
                    self.last_checkpoints or [path],
                    filename=latest_filename or "checkpoint",
                )
                self._MaybeDeleteOldCheckpoints(meta_graph_suffix)
        return path
