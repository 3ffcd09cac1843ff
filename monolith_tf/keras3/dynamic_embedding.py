"""An embedding without a number of ids, for Keras 3."""

from __future__ import annotations

from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.keras3_layer import Keras3Layer
from monolith_tf.keras_common.dynamic_embedding import OneFeature


@keras.saving.register_keras_serializable(package="monolith_tf")
class DynamicEmbedding(OneFeature, Keras3Layer):
    """Reads one table in a model of Keras 3: `mt.layers.DynamicEmbedding`.

    Arguments, call arguments, output shape and errors are those of its twin for
    tf_keras. What differs: the arguments of every layer (`**kwargs`) are those
    of `keras.layers.Layer`, and a strategy of `tf.distribute` is refused.

    Raises:
        ValueError: A strategy is open, or the table lies on parameter servers;
            and as its twin.

    Example:
    >>> import keras
    >>> import monolith_tf as mt
    >>> model = keras.Sequential([
    ...     keras.Input([None], dtype="int64"),
    ...     mt.keras3.DynamicEmbedding(mt.TableConfig("movie", dim=16), "mean"),
    ...     keras.layers.Dense(1)])
    >>> model.compile(mt.keras3.with_tables("adam"), "mse")
    >>> model.output_shape
    (None, 1)
    """
