"""Keras layers that read tables."""

from monolith_tf.layers.dynamic_embedding import DynamicEmbedding
from monolith_tf.layers.embedding_collection import EmbeddingCollection

__all__ = ["DynamicEmbedding", "EmbeddingCollection"]
