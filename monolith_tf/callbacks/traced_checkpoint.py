"""A checkpoint whose graph is made once, not at every save."""

from __future__ import annotations

import os

import tensorflow as tf
from tensorflow.python.checkpoint import graph_view


class TracedCheckpoint(tf.train.Checkpoint):
    """Is a `tf.train.Checkpoint`, and writes by one function all its life.

    With variables on several devices TensorFlow makes a new function for each
    save, and servers of a cluster keep what they made of it. Here the function
    is kept as long as the same objects are saved. Objects whose state is
    Python's are written as ever, because a kept function would write what they
    were when it was made.

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
        """What `write`, `save` and a `CheckpointManager` call.

        Args:
            file_prefix: Path of the checkpoint.
            options: `tf.train.CheckpointOptions`, or None.

        Returns:
            The path.
        """
        callbacks = getattr(options, "experimental_write_callbacks", None)
        if not tf.executing_eagerly() or _is_special(options):
            return super()._write(file_prefix, options)
        found, _ = graph_view.ObjectGraphView(self).breadth_first_traversal()
        if any(isinstance(o, tf.train.experimental.PythonState) for o in found):
            return super()._write(file_prefix, options)
        # Held by the function, so none of them can be another one's id.
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
            # Not an attribute that is saved.
            self.__dict__["_kept_write"] = kept
        file_prefix = os.fspath(file_prefix)
        tf.io.gfile.makedirs(os.path.dirname(file_prefix) or ".")
        path = kept[1](tf.constant(file_prefix)).numpy().decode()
        for callback in callbacks or ():
            callback(path)
        return path


def _is_special(options) -> bool:
    """Whether options ask for more than callbacks."""
    if options is None:
        return False
    plain = tf.train.CheckpointOptions()
    return any(
        getattr(options, name) != getattr(plain, name)
        for name in plain.__slots__
        if name != "experimental_write_callbacks"
    )
