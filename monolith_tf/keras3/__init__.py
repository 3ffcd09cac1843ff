"""Layers and the optimizer wrapper for Keras 3, in one process.

Imports `keras_common`, `optimizers` and below. Start with
`dynamic_embedding.py`. The classes are those of `mt.layers` and
`mt.optimizers.with_tables` for models of the package `keras`, on its TensorFlow
backend. Loading this package loads Keras 3. Under a `tf.distribute` strategy
use models of `tf_keras` and `mt.layers`.
"""

from monolith_tf.keras3.dynamic_embedding import DynamicEmbedding
from monolith_tf.keras3.embedding_collection import EmbeddingCollection
from monolith_tf.keras3.id_layers import CrossedIds
from monolith_tf.keras3.id_layers import PackedIds
from monolith_tf.keras3.id_layers import StringIds
from monolith_tf.keras3.with_tables import with_tables

__all__ = [
    "CrossedIds",
    "DynamicEmbedding",
    "EmbeddingCollection",
    "PackedIds",
    "StringIds",
    "with_tables",
]
