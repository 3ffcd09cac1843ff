"""A tf.estimator program for a cluster: `TF_CONFIG` says which task it is.

What changed since tf.estimator 2.15: the import, and the lines marked "table".
"""

import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt  # table
from monolith_tf import estimators as tf_estimator  # import

MOVIE = mt.TableConfig(
    "movie", 4, optimizer=mt.optimizers.Adagrad(0.5)
)  # table


def model_fn(features, labels, mode):
    rows = mt.layers.DynamicEmbedding(MOVIE)(features["movie"])  # table
    kernel = tf.compat.v1.get_variable("kernel", [4, 1])
    logits = tf.matmul(rows, kernel)[:, 0]
    if mode == tf_estimator.ModeKeys.PREDICT:
        predictions = {"probability": tf.sigmoid(logits)}
        return tf_estimator.EstimatorSpec(mode, predictions=predictions)
    loss = tf.compat.v1.losses.sigmoid_cross_entropy(labels, logits)
    if mode == tf_estimator.ModeKeys.EVAL:
        return tf_estimator.EstimatorSpec(mode, loss=loss)
    optimizer = tf.compat.v1.train.AdagradOptimizer(0.1)
    optimizer = mt.optimizers.with_tables(optimizer)  # table
    train_op = optimizer.minimize(
        loss, global_step=tf.compat.v1.train.get_global_step()
    )
    return tf_estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def input_fn():
    movies = np.random.default_rng(3).integers(0, 100, 4096)
    labels = (movies % 3 == 0).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices(({"movie": movies}, labels))
    return data.batch(64)


def main(model_dir, max_steps):
    config = tf_estimator.RunConfig(model_dir, save_checkpoints_steps=50)
    estimator = tf_estimator.Estimator(model_fn, config=config)
    receiver = tf_estimator.export.build_raw_serving_input_receiver_fn(
        {"movie": tf.TensorSpec([None], tf.int64)}
    )
    train_spec = tf_estimator.TrainSpec(
        lambda: input_fn().repeat(), max_steps=int(max_steps)
    )
    eval_spec = tf_estimator.EvalSpec(
        input_fn,
        steps=10,
        exporters=[tf_estimator.FinalExporter("final", receiver)],
        start_delay_secs=0,
        throttle_secs=0,
    )
    tf_estimator.train_and_evaluate(estimator, train_spec, eval_spec)


if __name__ == "__main__":
    main(*sys.argv[1:])
