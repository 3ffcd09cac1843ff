"""What Keras does to build a subclassed model that was loaded.

It calls the model on placeholders of the shapes that were saved, and all of
them are floats. Nothing runs then; an Embedding of Keras takes them as well.
"""

from __future__ import annotations

import tensorflow as tf


def ids_of(value):
    """Returns an input of a layer, float placeholders of such a build as ids.

    Args:
        value: Tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
    """
    if not tf.is_tensor(value) or not value.dtype.is_floating:
        return value
    # The name that tf_keras gives the graph of the build.
    if getattr(tf.compat.v1.get_default_graph(), "name", "") != "build_graph":
        return value
    return tf.cast(value, tf.int64)
