"""The layer that reads all features of a model at once, for Keras 3."""

from __future__ import annotations

from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.keras3_layer import Keras3Layer
from monolith_tf.keras_common.embedding_collection import ManyFeatures


@keras.saving.register_keras_serializable(package="monolith_tf")
class EmbeddingCollection(ManyFeatures, Keras3Layer):
    """Reads features in a model of Keras 3: `mt.layers.EmbeddingCollection`.

    Arguments, call arguments, output shape and errors are those of its twin for
    tf_keras. What differs: the arguments of every layer (`**kwargs`) are those
    of `keras.layers.Layer`, and a strategy of `tf.distribute` is refused.

    Raises:
        ValueError: A strategy is open, or a table lies on parameter servers;
            and as its twin.

    Example:
    >>> import keras
    >>> import monolith_tf as mt
    >>> layer = mt.keras3.EmbeddingCollection([
    ...     mt.FeatureConfig("movie_id", mt.TableConfig("movie", dim=16)),
    ...     mt.FeatureConfig("genres", mt.TableConfig("genre", dim=4),
    ...                combiner="mean", padding_id=0)])
    >>> vectors = layer({
    ...     "movie_id": keras.Input([], dtype="int64"),
    ...     "genres": keras.Input([None], dtype="int64")})
    >>> vectors["movie_id"].shape, vectors["genres"].shape
    ((None, 16), (None, 4))
    """
