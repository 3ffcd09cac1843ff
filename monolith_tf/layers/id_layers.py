"""The functions of `mt.ids` as layers, for functional and sequential models.

Subclassed models and datasets call `mt.ids` directly.
"""

from __future__ import annotations

import tf_keras

from monolith_tf.keras_common.id_layers import MadeByCrossing
from monolith_tf.keras_common.id_layers import MadeByPacking
from monolith_tf.keras_common.id_layers import MadeOfStrings


class _IdLayer(tf_keras.layers.Layer):
    """A function of ids without weights."""

    def __init__(self, **kwargs):
        # Ids are integers: the dtype of the layer is for floats.
        super().__init__(**kwargs)
        self._autocast = False


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class StringIds(MadeOfStrings, _IdLayer):
    """Hashes strings to ids, as `mt.ids.from_strings`.

    Args:
        **kwargs: As of every Keras layer (`name`).

    Call arguments:
        inputs: String tensor, `tf.RaggedTensor` or `tf.SparseTensor`.

    Output shape:
        int64, shape and kind of the input.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> mt.layers.StringIds()(tf.constant(["a"])).numpy()
    array([-5528939962900187677])
    """


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class PackedIds(MadeByPacking, _IdLayer):
    """Packs a feature number into ids, as `mt.ids.pack`.

    Args:
        feature_number: Integer from 0 to 32,767.
        **kwargs: As of every Keras layer (`name`).

    Call arguments:
        inputs: int64 tensor, `tf.RaggedTensor` or `tf.SparseTensor`, ids from 0
            to 2^48 - 1.

    Output shape:
        int64, shape and kind of the input.

    Raises:
        TypeError: The feature number is not an integer.
        ValueError: It is out of range.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> mt.layers.PackedIds(2)(tf.constant([5], tf.int64)).numpy()
    array([562949953421317])
    """


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class CrossedIds(MadeByCrossing, _IdLayer):
    """Makes one id per combination of ids, as `mt.ids.cross`.

    Args:
        salt: Integer from 0 to 2^63 - 1.
        padding_id: The id that fills up short examples of dense inputs, or
            None.
        **kwargs: As of every Keras layer (`name`).

    Call arguments:
        inputs: List of two or more int64 inputs of the same batch: tensors
            `[batch]` or `[batch, length]`, `tf.RaggedTensor` or
            `tf.SparseTensor` `[batch, length]`.

    Output shape:
        int64: `[batch]` if all inputs are, `[batch, product of lengths]` if all
        are dense, else ragged.

    Raises:
        TypeError: `salt` or `padding_id` is not an integer.
        ValueError: One of them is out of range.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> user, movie = tf.constant([[7], [5]], tf.int64)
    >>> crossed = mt.layers.CrossedIds(salt=1)([user, movie])
    >>> bool(crossed[0] == mt.ids.cross([user, movie], salt=1)[0])
    True
    """
