"""What Keras does to build a subclassed model that was loaded.

It calls the model on placeholders of the shapes that were saved, and all of
them are floats. Nothing runs then; an Embedding of Keras takes them as well.
"""

from __future__ import annotations

import tensorflow as tf

# How tf_keras and Keras 3 name the graph of the build.
_GRAPHS = ("build_graph", "scratch_graph")


def ids_of(value):
    """Returns an input of a layer, float placeholders of such a build as ids.

    Args:
        value: Tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
    """
    if not tf.is_tensor(value) or not value.dtype.is_floating:
        return value
    name = getattr(tf.compat.v1.get_default_graph(), "name", "")
    if not name.startswith(_GRAPHS):
        return value
    return tf.cast(value, tf.int64)
