"""A canned DeepFM for click-through rates."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from monolith_tf.estimators.estimator import Estimator
from monolith_tf.estimators.estimator_spec import DEFAULT_SERVING_SIGNATURE
from monolith_tf.estimators.estimator_spec import EstimatorSpec
from monolith_tf.estimators.estimator_spec import ModeKeys
from monolith_tf.estimators.export_outputs import PredictOutput
from monolith_tf.feature import FeatureConfig
from monolith_tf.layers.embedding_collection import EmbeddingCollection
from monolith_tf.optimizers import with_tables

v1 = tf.compat.v1


class DeepFMEstimator(Estimator):
    """A factorization machine and a deep network on the same rows.

    Guo et al., "DeepFM" (arXiv 1703.04247), equations 1 to 4: the first element
    of a row is the weight of the linear part, the others are the vector of the
    pairwise part; the deep part reads whole rows and dense features.

    Predictions are "logits", "probabilities" (of a 1) and "class_ids"; metrics
    are "accuracy", "auc", "average_loss", "label/mean" and "prediction/mean".

    Args:
        features: `mt.FeatureConfig`s whose tables have the same `dim`, at least
            2. A feature with several ids per example needs a combiner.
        dense_features: Names of float features, `[batch]` or `[batch, n]`.
        hidden_units: Sizes of the layers of the deep part.
        model_dir: As for `Estimator`.
        optimizer: A `tf.compat.v1.train.Optimizer` for the dense part, or a
            function that returns one; None for Adagrad with rate 0.05.
        config: As for `Estimator`.
        warm_start_from: As for `Estimator`.

    Raises:
        ValueError: There are no features, or their tables have different dims.

    Example:
    ```python
    estimator = DeepFMEstimator(
        [mt.FeatureConfig("user", mt.TableConfig("user", dim=17)),
         mt.FeatureConfig("item", mt.TableConfig("item", dim=17))],
        model_dir="model")
    estimator.train(input_fn, steps=1000)
    ```
    """

    def __init__(
        self,
        features: Sequence[FeatureConfig],
        dense_features: Sequence[str] = (),
        hidden_units: Sequence[int] = (64, 32),
        model_dir=None,
        optimizer: v1.train.Optimizer | Callable | None = None,
        config=None,
        warm_start_from=None,
    ):
        """Checks the features."""
        own = tuple(features)
        dims = {feature.name: feature.config.dim for feature in own}
        if len(set(dims.values())) != 1 or min(dims.values()) < 2:
            raise ValueError(
                "DeepFMEstimator needs features whose tables have one dim, at "
                f"least 2. Received: {dims}. Give all tables the same dim."
            )
        dense_names = tuple(dense_features)
        units = tuple(hidden_units)

        def model_fn(features, labels, mode):
            logits = _logits(own, dense_names, units, features)
            return _spec(mode, logits, labels, optimizer)

        super().__init__(
            model_fn, model_dir, config, warm_start_from=warm_start_from
        )


def _logits(own, dense_names, hidden_units, features) -> tf.Tensor:
    """Returns the logits, float32 `[batch]`."""
    collection = EmbeddingCollection(own, name="features")
    vectors = collection({f.name: features[f.name] for f in own})
    dim = own[0].config.dim
    rows = tf.stack(
        [tf.reshape(vectors[f.name], [-1, dim]) for f in own], axis=1
    )
    linear = tf.reduce_sum(rows[:, :, 0], axis=1)
    factors = rows[:, :, 1:]
    pairs = 0.5 * tf.reduce_sum(
        tf.square(tf.reduce_sum(factors, axis=1))
        - tf.reduce_sum(tf.square(factors), axis=1),
        axis=1,
    )
    deep = tf.reshape(rows, [-1, len(own) * dim])
    batch = tf.shape(deep)[0]
    widths = [features[name].shape[1:].num_elements() for name in dense_names]
    parts = [
        tf.ensure_shape(
            tf.reshape(tf.cast(features[name], tf.float32), [batch, -1]),
            [None, width],
        )
        for name, width in zip(dense_names, widths, strict=True)
    ]
    deep = tf.concat([deep, *parts], axis=1)
    for number, units in enumerate(hidden_units):
        deep = tf_keras.layers.Dense(units, "relu", name=f"dnn_{number}")(deep)
    deep = tf_keras.layers.Dense(1, name="dnn_logits")(deep)
    return linear + pairs + deep[:, 0]


def _spec(mode, logits, labels, optimizer) -> EstimatorSpec:
    probabilities = tf.sigmoid(logits)
    predictions = {
        "logits": logits,
        "probabilities": probabilities,
        "class_ids": tf.cast(logits > 0.0, tf.int64),
    }
    if mode == ModeKeys.PREDICT:
        return EstimatorSpec(
            mode,
            predictions=predictions,
            export_outputs={
                DEFAULT_SERVING_SIGNATURE: PredictOutput(predictions)
            },
        )
    labels = tf.reshape(tf.cast(labels, tf.float32), [-1])
    loss = tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    if mode == ModeKeys.EVAL:
        return EstimatorSpec(
            mode,
            predictions=predictions,
            loss=loss,
            eval_metric_ops={
                "accuracy": v1.metrics.accuracy(
                    labels, tf.cast(logits > 0.0, tf.float32)
                ),
                "auc": v1.metrics.auc(labels, probabilities),
                "average_loss": v1.metrics.mean(loss),
                "label/mean": v1.metrics.mean(labels),
                "prediction/mean": v1.metrics.mean(probabilities),
            },
        )
    if optimizer is None:
        optimizer = v1.train.AdagradOptimizer(0.05)
    elif not isinstance(optimizer, v1.train.Optimizer):
        optimizer = optimizer()
    train_op = with_tables(optimizer).minimize(loss, v1.train.get_global_step())
    return EstimatorSpec(
        mode, predictions=predictions, loss=loss, train_op=train_op
    )
