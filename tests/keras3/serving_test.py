"""A model of Keras 3 is exported, and deltas keep the export up to date."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement.registry import tables_of
from monolith_tf.serving import export_saved_model
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.server import ModelServer

RANDOM = np.random.default_rng(0)
IDS = np.arange(50, dtype=np.int64)
GENRES = [[1, 2], [], [3, 1, 2]]


def make_model():
    """Dense, ragged and masked features; a model with more than weights."""
    movie = mt.TableConfig("movie", 4, optimizer=mt.optimizers.Adagrad(0.1))
    genre = mt.TableConfig("genre", 3, optimizer=mt.optimizers.Adam(0.1))
    inputs = {
        "movie": keras.Input([], dtype="int64", name="movie"),
        "genres": keras.Input([None], dtype="int64", name="genres"),
        "seen": keras.Input([None], dtype="int64", name="seen", ragged=True),
    }
    with mt.TableSet(num_shards=2):
        vectors = mt.keras3.EmbeddingCollection(
            [
                mt.FeatureConfig("movie", movie),
                mt.FeatureConfig("genres", genre, "mean", padding_id=0),
                mt.FeatureConfig("seen", movie, "sum", padding_id=0),
            ]
        )(inputs)
        sequence = mt.keras3.DynamicEmbedding(genre, padding_id=0)(
            inputs["genres"]
        )
        hidden = keras.layers.Concatenate()(
            [*vectors.values(), keras.layers.GRU(2)(sequence)]
        )
        hidden = keras.layers.BatchNormalization()(hidden)
        hidden = keras.layers.Dropout(0.1)(hidden)
        click = keras.layers.Dense(1, activation="sigmoid")(hidden)
        model = keras.Model(inputs, {"click": click})
    model.compile(mt.keras3.with_tables("adam"), "binary_crossentropy")
    return model


def examples():
    ids = RANDOM.integers(0, 40, 192)
    seen = tf.RaggedTensor.from_row_lengths(
        RANDOM.integers(1, 40, 3 * 192), np.full(192, 3)
    )
    features = {
        "movie": ids,
        "genres": RANDOM.integers(0, 5, [192, 3]),
        "seen": seen,
    }
    labels = {"click": (ids % 2).astype(np.float32)[:, None]}
    return tf.data.Dataset.from_tensor_slices((features, labels)).batch(32)


def fit(model, **kwargs):
    return model.fit(examples(), verbose=0, shuffle=False, **kwargs)


def request(number):
    genres = tf.ragged.constant(
        [GENRES[i % 3] for i in range(number)], tf.int64
    )
    return {
        "movie": tf.constant(IDS[:number]),
        "genres": genres.to_tensor(),
        "seen": genres,
    }


def padded(inputs):
    return {
        name: value.to_tensor() if name == "seen" else value
        for name, value in inputs.items()
    }


@pytest.mark.slow
def test_an_export_answers_as_the_model(tmp_path):
    model = make_model()
    fit(model)
    record = export_saved_model(model, tmp_path)
    inputs = request(50)
    loaded = tf.saved_model.load(record.path)
    served = loaded.signatures["serving_default"](**padded(inputs))
    np.testing.assert_allclose(
        served["click"], model(inputs, training=False)["click"], rtol=1e-6
    )
    names = [variable["name"] for variable in record.dense]
    assert len(names) == len(model.weights) - 2
    assert not [name for name in names if "seed" in name]
    assert record.features["seen"]["padding"] == 0


@pytest.mark.slow
def test_row_splits_and_strings_travel(tmp_path):
    model = make_model()
    record = export_saved_model(
        model, tmp_path, ragged="row_splits", string_features=["movie"]
    )
    loaded = tf.saved_model.load(record.path)
    words = tf.constant(["a", "b", "c"])
    inputs = {**request(3), "movie": mt.ids.from_strings(words)}
    served = loaded.signatures["serving_default"](
        movie=words,
        genres=inputs["genres"],
        **{
            # Arguments of Python have other names than those of a request.
            name: value
            for name, value in zip(
                sorted(
                    set(
                        loaded.signatures[
                            "serving_default"
                        ].structured_input_signature[1]
                    )
                    - {"movie", "genres"}
                ),
                sorted(
                    [inputs["seen"].values, inputs["seen"].row_splits],
                    key=lambda tensor: -len(tensor),
                ),
                strict=True,
            )
        },
    )
    np.testing.assert_allclose(
        served["click"], model(inputs, training=False)["click"], rtol=1e-6
    )


@pytest.mark.slow
def test_deltas_keep_a_server_equal_to_the_model_that_fit_trains(tmp_path):
    model = make_model()
    fit(model)
    base_path = str(tmp_path / "models")
    record = export_saved_model(model, base_path)
    with ModelServer({"ranker": base_path}, port=0) as server:
        address = f"127.0.0.1:{server.port}"
        push = mt.callbacks.DeltaPush(
            address,
            "ranker",
            str(tmp_path / "log"),
            record,
            interval_seconds=0.01,
        )
        fit(model, epochs=2, callbacks=[push])
        assert push.metrics.rows > 0
        assert push.metrics.resyncs == 0
        with PredictionClient(address) as client:
            inputs = request(50)
            served = client.predict(
                "ranker",
                {name: v.numpy() for name, v in padded(inputs).items()},
            )
            np.testing.assert_allclose(
                served.outputs["click"],
                model(inputs, training=False)["click"],
                rtol=1e-5,
            )
            for index, table in enumerate(tables_of(model)):
                rows = client.predict(
                    "ranker", {"ids": IDS}, f"monolith_lookup_{index}"
                )
                np.testing.assert_array_equal(
                    rows.outputs["rows"], table.lookup(IDS).numpy()
                )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = mt.keras3.DynamicEmbedding(
            mt.TableConfig("movie", 2), "sum"
        )
        self.top = keras.layers.Dense(1)

    def call(self, inputs):
        return self.top(self.embedding(inputs))


@pytest.mark.slow
def test_a_subclassed_model_needs_a_spec_of_its_inputs(tmp_path):
    with mt.TableSet():
        model = Subclassed()
    ids = np.array([[1, 2], [3, 4]])
    expected = model(ids)
    with pytest.raises(ValueError, match="subclassed model of Keras 3"):
        export_saved_model(model, tmp_path)
    record = export_saved_model(
        model,
        tmp_path,
        inputs=tf.TensorSpec([None, 2], tf.int64, name="ids"),
    )
    loaded = tf.saved_model.load(record.path)
    served = loaded.signatures["serving_default"](ids=tf.constant(ids))
    np.testing.assert_allclose(served["output_1"], expected, rtol=1e-6)


def test_a_sequential_model_is_exported_by_the_name_of_its_input(tmp_path):
    with mt.TableSet():
        model = keras.Sequential(
            [
                keras.Input([2], dtype="int64", name="movies"),
                mt.keras3.DynamicEmbedding(mt.TableConfig("movie", 2), "mean"),
                keras.layers.Dense(1),
            ]
        )
    record = export_saved_model(model, tmp_path)
    assert list(record.features) == ["movies"]


def test_ragged_inputs_of_other_names_than_their_features_travel(tmp_path):
    dtypes = {"words": "string", "seen_ids": "int64", "unread": "int64"}
    inputs = {
        name: keras.Input([None], dtype=dtype, name=name, ragged=True)
        for name, dtype in dtypes.items()
    }
    with mt.TableSet():
        vectors = mt.keras3.EmbeddingCollection(
            [
                mt.FeatureConfig("genres", mt.TableConfig("genre", 2), "sum"),
                mt.FeatureConfig("seen", mt.TableConfig("movie", 2), "sum", 7),
            ]
        )(
            {
                "genres": mt.keras3.StringIds()(inputs["words"]),
                "seen": inputs["seen_ids"],
            }
        )
    model = keras.Model(inputs, vectors["genres"] + vectors["seen"])
    record = export_saved_model(model, tmp_path)
    paddings = {n: f["padding"] for n, f in record.features.items()}
    assert paddings == {"words": "", "seen_ids": 7}
    words = tf.ragged.constant([["a"], [], ["b", "c"]])
    seen = tf.ragged.constant([[1, 0], [2], []], tf.int64)
    loaded = tf.saved_model.load(record.path)
    (served,) = loaded.signatures["serving_default"](
        words=words.to_tensor(""), seen_ids=seen.to_tensor(7)
    ).values()
    expected = model({"words": words, "seen_ids": seen, "unread": seen})
    np.testing.assert_allclose(served, expected, rtol=1e-6)
