"""A DeepFM-style ranker of movies for users.

Reference: Guo et al.: DeepFM: a factorization-machine based neural network for
CTR prediction, IJCAI 2017. The logit is a sum of a wide part (one number per
id), the pairwise products of the features' vectors, and a small deep network.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import data

_FEATURES = {"user_id": "user", "movie_id": "movie", "genres": "genre"}


def make_ranker(
    dim: int = 8, learning_rate: float = 0.15, seed: int = 7
) -> tf_keras.Model:
    """Creates and compiles the ranker; call it in the strategy's scope.

    Args:
        dim: Length of the deep rows.
        learning_rate: Learning rate of the rows (Adagrad).
        seed: Seed of initial rows and weights.

    Returns:
        A model of `user_id` int64 `[batch]`, `movie_id` int64 `[batch]` and
        `genres` int64 `[batch, length]` (padded with `data.GENRE_PADDING_ID`);
        its output `like`, float32 `[batch, 1]`, is the probability of a like.
    """
    inputs = {
        "user_id": tf_keras.Input([], dtype="int64", name="user_id"),
        "movie_id": tf_keras.Input([], dtype="int64", name="movie_id"),
        "genres": tf_keras.Input([None], dtype="int64", name="genres"),
    }
    # One collection: one lookup op per server reads all tables.
    collection = mt.layers.EmbeddingCollection(
        [
            _feature(name, kind, dim, learning_rate, seed)
            for name in inputs
            for kind in ("deep", "wide")
        ]
    )
    vectors = collection(
        {
            f"{name}:{kind}": ids
            for name, ids in inputs.items()
            for kind in ("deep", "wide")
        }
    )
    deep = [vectors[f"{name}:deep"] for name in inputs]
    wide = [vectors[f"{name}:wide"] for name in inputs]
    logit = tf_keras.layers.Dense(
        1, use_bias=True, kernel_initializer=_glorot(seed), name="deep_logit"
    )(_network(tf_keras.layers.Concatenate()(deep), seed))
    logit = tf_keras.layers.Add()([logit, *wide, PairwiseProducts()(deep)])
    like = tf_keras.layers.Activation("sigmoid", name="like")(logit)
    model = tf_keras.Model(inputs, {"like": like}, name="ranker")
    model.compile(
        mt.optimizers.with_tables(tf_keras.optimizers.Adam(1e-3)),
        loss={"like": "binary_crossentropy"},
    )
    return model


@tf_keras.saving.register_keras_serializable(package="monolith_tf_examples")
class PairwiseProducts(tf_keras.layers.Layer):
    """The factorization machine: sum of the products of all pairs.

    Call arguments:
        inputs: List of float32 `[batch, dim]`.

    Output shape:
        float32 `[batch, 1]`.
    """

    def call(self, inputs):
        """Sums by the identity 2 sum_{i<j} x_i x_j = (sum x)^2 - sum x^2."""
        total = tf.add_n(inputs)
        squares = tf.add_n([tf.square(vector) for vector in inputs])
        products = tf.square(total) - squares
        return 0.5 * tf.reduce_sum(products, axis=-1, keepdims=True)


def _feature(
    name: str, kind: str, dim: int, learning_rate: float, seed: int
) -> mt.FeatureConfig:
    wide = kind == "wide"
    config = mt.TableConfig(
        name=f"{_FEATURES[name]}_{kind}",
        dim=1 if wide else dim,
        optimizer=mt.optimizers.Adagrad(learning_rate=learning_rate),
        initializer=(
            mt.initializers.Zeros()
            if wide
            else mt.initializers.RandomUniform(-0.05, 0.05)
        ),
        seed=seed,
    )
    if name != "genres":
        return mt.FeatureConfig(f"{name}:{kind}", config)
    return mt.FeatureConfig(
        f"{name}:{kind}",
        config,
        combiner="mean",
        padding_id=data.GENRE_PADDING_ID,
    )


def _network(vector, seed: int):
    for units in (32, 16):
        vector = tf_keras.layers.Dense(
            units, "relu", kernel_initializer=_glorot(seed + units)
        )(vector)
    return vector


def _glorot(seed: int):
    return tf_keras.initializers.GlorotUniform(seed)
