"""A checkpoint that traces its graph once instead of at every save."""

from __future__ import annotations

import copy
import os

import tensorflow as tf
from tensorflow.python.checkpoint import graph_view

from monolith_tf import failpoints
from monolith_tf.checkpoint import durable_files


class TracedCheckpoint(tf.train.Checkpoint):
    """A `tf.train.Checkpoint` that writes by one function.

    With variables on several devices TensorFlow traces a new function per save,
    and the servers of a cluster retain its kernels. This class reuses the
    function as long as it saves the same objects. A checkpoint is on disk when
    the call returns (`durable_files`). Checkpoints with Python state
    are written by TensorFlow unchanged, because a reused function would write
    the state at tracing.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig("movie", dim=1))
    >>> checkpoint = TracedCheckpoint(table=table)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for value in (1.0, 2.0):
    ...         table.assign([7], [[value]])
    ...         path = checkpoint.write(f"{folder}/saved")
    ...     table.assign([7], [[3.0]])
    ...     status = checkpoint.read(path)
    >>> table.lookup([7]).numpy()
    array([[2.]], dtype=float32)
    """

    def _write(self, file_prefix, options=None):
        """Implements `write`, `save` and the saves of a `CheckpointManager`.

        Args:
            file_prefix: Path of the checkpoint.
            options: `tf.train.CheckpointOptions`, or None.

        Returns:
            The path.
        """
        callbacks = getattr(options, "experimental_write_callbacks", None)
        if not tf.executing_eagerly() or _is_special(options):
            return super()._write(file_prefix, _with_sync(options))
        found, _ = graph_view.ObjectGraphView(self).breadth_first_traversal()
        if any(isinstance(o, tf.train.experimental.PythonState) for o in found):
            return super()._write(file_prefix, _with_sync(options))
        # The function holds the objects, so their ids stay unique.
        saved = tuple(map(id, found))
        kept = self.__dict__.get("_kept_write")
        if kept is None or kept[0] != saved:
            write = super()._write
            function = tf.function(
                lambda prefix: write(prefix),
                input_signature=[tf.TensorSpec([], tf.string)],
                autograph=False,
            )
            kept = (saved, function, found)
            # In __dict__, so that it is not a tracked attribute.
            self.__dict__["_kept_write"] = kept
        file_prefix = os.fspath(file_prefix)
        tf.io.gfile.makedirs(os.path.dirname(file_prefix) or ".")
        failpoints.hit("traced_checkpoint.before_write")
        path = kept[1](tf.constant(file_prefix)).numpy().decode()
        _sync(path)
        # The file that names the latest checkpoint is not written yet.
        failpoints.hit("traced_checkpoint.after_write")
        for callback in callbacks or ():
            callback(path)
        return path


def _sync(path) -> None:
    """Makes a written checkpoint durable; in a function it has no path yet."""
    if isinstance(path, (str, bytes)):
        durable_files.sync_checkpoint(os.fsdecode(path))


def _with_sync(options) -> tf.train.CheckpointOptions:
    """Returns options whose first callback makes the checkpoint durable."""
    options = copy.copy(options) if options else tf.train.CheckpointOptions()
    callbacks = options.experimental_write_callbacks or ()
    options.experimental_write_callbacks = [_sync, *callbacks]
    return options


def _is_special(options) -> bool:
    """Returns True if options set more than callbacks."""
    if options is None:
        return False
    plain = tf.train.CheckpointOptions()
    return any(
        getattr(options, name) != getattr(plain, name)
        for name in plain.__slots__
        if name != "experimental_write_callbacks"
    )
