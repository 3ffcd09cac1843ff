"""Layers of tf_keras that read tables, and layers that make ids.

Imports `keras_common`, `optimizers` and below. Start with
`dynamic_embedding.py`.
"""

from monolith_tf.layers.dynamic_embedding import DynamicEmbedding
from monolith_tf.layers.embedding_collection import EmbeddingCollection
from monolith_tf.layers.id_layers import CrossedIds
from monolith_tf.layers.id_layers import PackedIds
from monolith_tf.layers.id_layers import StringIds

__all__ = [
    "CrossedIds",
    "DynamicEmbedding",
    "EmbeddingCollection",
    "PackedIds",
    "StringIds",
]
