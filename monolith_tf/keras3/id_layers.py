"""The functions of `mt.ids` as layers of Keras 3."""

from __future__ import annotations

from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.symbolic import traced
from monolith_tf.keras_common.id_layers import MadeByCrossing
from monolith_tf.keras_common.id_layers import MadeByPacking
from monolith_tf.keras_common.id_layers import MadeOfStrings


class _IdLayer(keras.layers.Layer):
    """A function of ids without weights."""

    def __init__(self, **kwargs):
        # Ids are integers: the dtype of the layer is for floats.
        super().__init__(**kwargs)
        self.autocast = False
        self.built = True

    def compute_output_spec(self, inputs):
        """Returns a `keras.KerasTensor` like what `call` returns."""
        return traced(self.call, inputs)


@keras.saving.register_keras_serializable(package="monolith_tf")
class StringIds(MadeOfStrings, _IdLayer):
    """Hashes strings to ids: `mt.layers.StringIds` for Keras 3.

    Example:
    >>> import keras
    >>> import monolith_tf as mt
    >>> ids = mt.keras3.StringIds()(keras.Input([], dtype="string"))
    >>> ids.shape, ids.dtype
    ((None,), 'int64')
    """


@keras.saving.register_keras_serializable(package="monolith_tf")
class PackedIds(MadeByPacking, _IdLayer):
    """Puts a number into ids: `mt.layers.PackedIds` for Keras 3.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> mt.keras3.PackedIds(2)(tf.constant([5], tf.int64)).numpy()
    array([562949953421317])
    """


@keras.saving.register_keras_serializable(package="monolith_tf")
class CrossedIds(MadeByCrossing, _IdLayer):
    """Makes ids of combinations: `mt.layers.CrossedIds` for Keras 3.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> user, movie = tf.constant([[7], [5]], tf.int64)
    >>> crossed = mt.keras3.CrossedIds(salt=1)([user, movie])
    >>> bool(crossed[0] == mt.ids.cross([user, movie], salt=1)[0])
    True
    """
