"""Checkpoints of a model while `fit` runs, and going on from them."""

from __future__ import annotations

import os

import tensorflow as tf
import tf_keras

from monolith_tf.callbacks.traced_checkpoint import TracedCheckpoint


class Checkpoints(tf_keras.callbacks.Callback):
    """Saves the whole model at the ends of epochs, rows included.

    A program that is killed and started again goes on where its last
    checkpoint was: `restore` reads it and says at which epoch. A checkpoint
    holds dense weights, rows with their slots, what admission counted and the
    optimizer; it counts once all of it is written. Under
    `ParameterServerStrategy` servers write their own parts, so the directory
    has to be on a file system that all of them share; what N servers wrote is
    read by M.

    Args:
        model: A Keras model, compiled.
        directory: Folder of the checkpoints.
        max_to_keep: How many are kept, the latest.
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
                    f"Checkpoints: {name} is {value}; expected at least 1."
                )
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                "Checkpoints takes a compiled model, whose optimizer is saved "
                "with it. Call model.compile first."
            )
        self._of_model = model
        self._every_epochs = every_epochs
        self._num_epochs = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = TracedCheckpoint(
            model=model,
            optimizer=model.optimizer,
            num_epochs=self._num_epochs,
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, os.fspath(directory), max_to_keep
        )

    @property
    def latest(self) -> str | None:
        """Path of the last checkpoint, None if there is none."""
        return self._manager.latest_checkpoint

    def restore(self, path: str | None = None) -> int:
        """Reads a checkpoint into the model.

        Args:
            path: Which one; the latest when None.

        Returns:
            The number of epochs that were trained before it was saved, for
            `initial_epoch` of `fit`; 0 if there is no checkpoint.
        """
        path = path or self.latest
        if path is None:
            return 0
        # What is made later, such as the weights of a model that knows no
        # shape of its inputs yet, gets its values when it is made.
        self._checkpoint.read(path).assert_existing_objects_matched()
        return int(self._num_epochs.numpy())

    def save(self, num_epochs: int) -> str:
        """Writes a checkpoint.

        Args:
            num_epochs: Epochs that are done.

        Returns:
            Its path.
        """
        self._num_epochs.assign(num_epochs)
        return self._manager.save(checkpoint_number=num_epochs)

    def on_epoch_end(self, epoch, logs=None):
        """Writes a checkpoint, when it is time."""
        if (epoch + 1) % self._every_epochs == 0:
            self.save(epoch + 1)
