"""Saves models of one Keras, or loads them in a process of their own.

Arguments: save or load, tf_keras or keras, which import comes first (library or
keras), a folder. Prints what the models are, as JSON.
"""

import importlib
import json
import pathlib
import sys

import numpy as np

ACTION, KERAS, FIRST, FOLDER = sys.argv[1:]

if FIRST == "library":
    import monolith_tf as mt

    keras = importlib.import_module(KERAS)
else:
    keras = importlib.import_module(KERAS)
    import monolith_tf as mt

IDS = np.array([[1, 2], [2, -7], [2**40, 0]], np.int64)
LABELS = np.array([0.0, 1.0, 0.0], np.float32)


@keras.saving.register_keras_serializable(package="load_model_program")
class Subclassed(keras.Model):
    """A user's model, which names the layers only when it is built."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embeddings = layers().EmbeddingCollection(
            [mt.FeatureConfig("movie", mt.TableConfig("movie", 2), "mean")]
        )
        self.top = keras.layers.Dense(1)

    def call(self, ids):
        return self.top(self.embeddings({"movie": ids})["movie"])


def layers():
    return mt.layers if KERAS == "tf_keras" else mt.keras3


def with_tables(optimizer):
    owner = mt.optimizers if KERAS == "tf_keras" else mt.keras3
    return owner.with_tables(optimizer)


def functional():
    ids = keras.Input([2], dtype="int64")
    movie = mt.TableConfig("movie", 2)
    vectors = layers().EmbeddingCollection(
        [
            mt.FeatureConfig("ids", movie, "sum"),
            mt.FeatureConfig("crossed", movie, "mean"),
        ]
    )({"ids": ids, "crossed": layers().CrossedIds(salt=1)([ids, ids])})
    hidden = keras.layers.Concatenate()(list(vectors.values()))
    return keras.Model(ids, keras.layers.Dense(1)(hidden))


def sequential():
    return keras.Sequential(
        [
            keras.Input([2], dtype="int64"),
            layers().DynamicEmbedding(mt.TableConfig("movie", 2), "sum"),
            keras.layers.Dense(1),
        ]
    )


def save(build):
    with mt.TableSet():
        model = build()
    model.compile(with_tables("adam"), "mse")
    model.fit(IDS, LABELS, epochs=2, verbose=0)
    model.save(path(build))
    return model


def path(build):
    return pathlib.Path(FOLDER) / f"{build.__name__}.keras"


def report(model):
    """Its predictions, and those after it was trained on."""
    before = model.predict(IDS, verbose=0)
    model.fit(IDS, LABELS, verbose=0)
    return {
        "optimizer": type(model.optimizer).__name__,
        "before": before.tolist(),
        "after": model.predict(IDS, verbose=0).tolist(),
    }


reports = {}
for build in (functional, sequential, Subclassed):
    if ACTION == "save":
        model = save(build)
    else:
        with mt.TableSet():
            model = keras.models.load_model(path(build))
    reports[build.__name__] = report(model)
print(json.dumps(reports))
