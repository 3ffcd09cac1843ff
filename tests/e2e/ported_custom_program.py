"""A tf.estimator program with a model_fn of its own.

What changed since tf.estimator 2.15: the import, and the lines marked "table".
"""

import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt  # table
from monolith_tf import estimators as tf_estimator  # import

MOVIE = mt.TableConfig(
    "movie", 8, optimizer=mt.optimizers.Adagrad(0.5)
)  # table


def model_fn(features, labels, mode, params):
    rows = mt.layers.DynamicEmbedding(MOVIE)(features["movie"])  # table
    net = tf.concat([rows, features["age"][:, None]], axis=1)
    for units in params["hidden_units"]:
        net = tf.compat.v1.layers.dense(net, units, activation=tf.nn.relu)
    logits = tf.compat.v1.layers.dense(net, 1)[:, 0]
    if mode == tf_estimator.ModeKeys.PREDICT:
        predictions = {"probability": tf.sigmoid(logits)}
        return tf_estimator.EstimatorSpec(mode, predictions=predictions)
    loss = tf.compat.v1.losses.sigmoid_cross_entropy(labels, logits)
    if mode == tf_estimator.ModeKeys.EVAL:
        metrics = {
            "accuracy": tf.compat.v1.metrics.accuracy(
                labels, tf.cast(logits > 0, tf.float32)
            )
        }
        return tf_estimator.EstimatorSpec(
            mode, loss=loss, eval_metric_ops=metrics
        )
    optimizer = tf.compat.v1.train.AdamOptimizer(params["learning_rate"])
    optimizer = mt.optimizers.with_tables(optimizer)  # table
    train_op = optimizer.minimize(
        loss, global_step=tf.compat.v1.train.get_global_step()
    )
    return tf_estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def input_fn(epochs):
    random = np.random.default_rng(1)
    movies = random.integers(0, 30, 512) * 2**40
    ages = random.normal(size=512).astype(np.float32)
    labels = (movies // 2**40 % 2).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices(
        ({"movie": movies, "age": ages}, labels)
    )
    return data.repeat(epochs).batch(64)


def main(model_dir):
    estimator = tf_estimator.Estimator(
        model_fn=model_fn,
        model_dir=model_dir,
        config=tf_estimator.RunConfig(tf_random_seed=1, save_summary_steps=10),
        params={"hidden_units": [16], "learning_rate": 0.01},
    )
    estimator.train(lambda: input_fn(epochs=20))
    print("accuracy", estimator.evaluate(lambda: input_fn(1))["accuracy"])
    probabilities = [
        float(prediction["probability"])
        for prediction in estimator.predict(lambda: input_fn(1))
    ]
    print("predictions", len(probabilities))
    print("names", *estimator.get_variable_names()[:3])


if __name__ == "__main__":
    main(sys.argv[1])
