"""A tf.estimator program with a canned estimator and a serving receiver.

What changed since tf.estimator 2.15: the import, and the lines marked "table",
where feature columns and a canned estimator of tf.estimator were.
"""

import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt  # table
from monolith_tf import estimators as tf_estimator  # import

FEATURE_SPEC = {
    "user": tf.io.FixedLenFeature([], tf.int64),
    "movie": tf.io.FixedLenFeature([], tf.int64),
    "age": tf.io.FixedLenFeature([1], tf.float32),
}


def example(user, movie, age, label=None):
    int64 = {"user": user, "movie": movie}
    feature = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for name, value in int64.items()
    }
    floats = {"age": age} if label is None else {"age": age, "label": label}
    for name, value in floats.items():
        feature[name] = tf.train.Feature(
            float_list=tf.train.FloatList(value=[value])
        )
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def input_fn(epochs):
    random = np.random.default_rng(2)
    users, movies = random.integers(0, 10, (2, 512))
    records = [
        example(user, movie, 0.5, float((user < 5) == (movie < 5)))
        for user, movie in zip(users, movies)
    ]
    spec = {**FEATURE_SPEC, "label": tf.io.FixedLenFeature([], tf.float32)}

    def parse(serialized):
        features = tf.io.parse_example(serialized, spec)
        return features, features.pop("label")

    data = tf.data.Dataset.from_tensor_slices(records)
    return data.repeat(epochs).batch(64).map(parse)


def main(model_dir, export_dir):
    estimator = tf_estimator.DeepFMEstimator(  # table
        features=[
            mt.FeatureConfig(
                name,
                mt.TableConfig(name, 9, optimizer=mt.optimizers.Adagrad(0.3)),
            )
            for name in ("user", "movie")
        ],
        dense_features=["age"],
        hidden_units=[16],
        model_dir=model_dir,
        config=tf_estimator.RunConfig(tf_random_seed=1),
    )
    estimator.train(lambda: input_fn(epochs=20))
    print("auc", estimator.evaluate(lambda: input_fn(1))["auc"])
    receiver_fn = tf_estimator.export.build_parsing_serving_input_receiver_fn(
        FEATURE_SPEC
    )
    path = estimator.export_saved_model(export_dir, receiver_fn)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    answer = serve(examples=tf.constant([example(1, 2, 0.5)]))
    print("probability", float(answer["probabilities"][0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
