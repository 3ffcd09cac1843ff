"""Early stopping that restores the best model, rows included."""

from __future__ import annotations

import os

import tf_keras

from monolith_tf.callbacks.checkpoints import Checkpoints


class EarlyStopping(tf_keras.callbacks.EarlyStopping):
    """`tf_keras.callbacks.EarlyStopping` whose best weights include rows.

    The callback of tf_keras keeps the best weights in memory and ignores rows.
    This one writes a checkpoint when the model is the best so far, and reads it
    at the end of `fit`, stopped early or not: dense weights, rows, slots and
    optimizer are those of the best epoch. Each `fit` determines its own best
    epoch: a restarted program starts over and replaces the previous best
    checkpoint.

    Args:
        directory: Folder of the best checkpoint, used by this callback alone;
            under `ParameterServerStrategy` on a file system that all servers
            share.
        **arguments: Arguments of `tf_keras.callbacks.EarlyStopping` except
            `restore_best_weights`.

    Raises:
        TypeError: `restore_best_weights` is passed.

    Example:
    ```python
    model.fit(dataset, epochs=100, validation_data=validation,
              callbacks=[mt.callbacks.EarlyStopping(
                  "/shared/best", monitor="val_loss", patience=3)])
    ```
    """

    def __init__(self, directory: str | os.PathLike[str], **arguments):
        """Reads and writes nothing yet."""
        if "restore_best_weights" in arguments:
            raise TypeError(
                "mt.callbacks.EarlyStopping always restores the best model; "
                "leave restore_best_weights out."
            )
        super().__init__(**arguments)
        self._directory = directory
        self._best: Checkpoints | None = None

    def on_train_begin(self, logs=None):
        """Forgets the best model of an earlier `fit`."""
        super().on_train_begin(logs)
        self._best = None

    def on_epoch_end(self, epoch, logs=None):
        """Saves the model if it is the best so far."""
        before = self.best
        super().on_epoch_end(epoch, logs)
        if self.best is before:
            return
        if self._best is None:
            self._best = Checkpoints(self.model, self._directory, max_to_keep=1)
        self._best.save(epoch + 1)

    def on_train_end(self, logs=None):
        """Restores the best model."""
        super().on_train_end(logs)
        if self._best is not None:
            self._best.restore()
