"""Inputs travel as what reads them says, under whatever name they have."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import serving

RAGGED = tf.ragged.constant([[5, 0, 7], [], [9]], tf.int64)
WORDS = tf.ragged.constant([["Comedy", "Drama"], [], ["Noir"]])
# What is in RAGGED and WORDS, as a padded request has it.
PADDED = tf.constant([[5, 0, 7], [0, 0, 0], [9, 0, 0]], tf.int64)
PADDED_WORDS = tf.constant([["Comedy", "Drama"], ["", ""], ["Noir", ""]])


@pytest.fixture(autouse=True)
def table_set():
    with mt.TableSet():
        yield


def config(name="genre"):
    return mt.TableConfig(
        name, 2, initializer=mt.initializers.RandomUniform(-1.0, 1.0)
    )


def ragged_input(name, dtype="int64"):
    return tf_keras.Input([None], dtype=dtype, ragged=True, name=name)


def export(model, tmp_path, **arguments):
    """The record of an export, and its default signature."""
    record = serving.export_saved_model(model, tmp_path, **arguments)
    loaded = tf.saved_model.load(record.path)
    return record, loaded.signatures["serving_default"]


def answer(signature, *tensors):
    """The one output, of a request of the inputs in order of their names."""
    names = sorted(signature.structured_input_signature[1])
    (output,) = signature(**dict(zip(names, tensors, strict=True))).values()
    return output


@pytest.mark.slow
def test_a_padding_id_is_found_when_input_and_feature_have_other_names(
    tmp_path,
):
    g = ragged_input("genre_ids")
    v = mt.layers.EmbeddingCollection(
        [mt.FeatureConfig("genres", config(), "mean", padding_id=4)]
    )({"genres": g})
    model = tf_keras.Model(g, v["genres"])
    record, signature = export(model, tmp_path)
    assert record.features["genre_ids"]["kind"] == "padded"
    assert record.features["genre_ids"]["padding"] == 4
    padded = tf.constant([[5, 0, 7], [4, 4, 4], [9, 4, 4]], tf.int64)
    np.testing.assert_array_equal(answer(signature, padded), model(RAGGED))


@pytest.mark.slow
@pytest.mark.parametrize("sparse", [False, True])
def test_the_padding_id_of_a_layer_of_one_feature_is_that_of_its_input(
    tmp_path, sparse
):
    g = tf_keras.Input(
        [None], dtype="int64", ragged=not sparse, sparse=sparse, name="tags"
    )
    other = ragged_input("ids")
    rows = mt.layers.DynamicEmbedding(config(), "sum", padding_id=0)(g)
    others = mt.layers.DynamicEmbedding(config("o"), "sum", padding_id=3)(other)
    model = tf_keras.Model({"first": g, "second": other}, rows + 2.0 * others)
    record, signature = export(model, tmp_path, ragged="padded")
    paddings = {n: f["padding"] for n, f in record.features.items()}
    assert paddings == {"first": 0, "second": 3}
    batch = {
        "first": RAGGED.to_sparse() if sparse else RAGGED,
        "second": tf.ragged.constant([[3, 0], [1, 2], []], tf.int64),
    }
    # A padding between ids keeps its place.
    second = tf.constant([[3, 0], [1, 2], [3, 3]], tf.int64)
    np.testing.assert_array_equal(
        answer(signature, PADDED, second), model(batch)
    )


@pytest.mark.slow
@pytest.mark.parametrize("padding_id", [None, 0])
@pytest.mark.parametrize("ragged", [None, "padded"])
def test_ragged_strings_are_padded_with_the_empty_string(
    tmp_path, padding_id, ragged
):
    words = ragged_input("genres", "string")
    vectors = mt.layers.EmbeddingCollection(
        [mt.FeatureConfig("genres", config(), "sum", padding_id)]
    )({"genres": mt.layers.StringIds()(words)})
    model = tf_keras.Model({"genres": words}, vectors)
    record, signature = export(model, tmp_path, ragged=ragged)
    assert record.features["genres"]["padding"] == ""
    assert record.features["genres"]["inputs"]["genres"]["dtype"] == "string"
    np.testing.assert_array_equal(
        answer(signature, PADDED_WORDS), model({"genres": WORDS})["genres"]
    )


def made_model(cross_padding=None):
    """The program of docs/features.md, "Ids that are made"."""
    inputs = {
        "user": tf_keras.Input([], dtype="int64", name="user"),
        "genres": ragged_input("genres"),
    }
    crossed = mt.layers.CrossedIds(padding_id=cross_padding)(
        [inputs["user"], inputs["genres"]]
    )
    packed = mt.layers.PackedIds(3)(inputs["genres"])
    many = config("many")
    vectors = mt.layers.EmbeddingCollection(
        [
            mt.FeatureConfig("crossed", many, "sum"),
            # A padding of packed ids is not an id of the input.
            mt.FeatureConfig(
                "genres", many, "mean", (3 << 48) + 1, default_id=-1
            ),
        ]
    )({"crossed": crossed, "genres": packed})
    return tf_keras.Model(inputs, vectors["crossed"] + vectors["genres"])


@pytest.mark.slow
def test_an_input_that_ids_are_made_of_travels_as_row_splits(tmp_path):
    model = made_model()
    record, signature = export(model, tmp_path)
    kinds = {name: f["kind"] for name, f in record.features.items()}
    assert kinds == {"genres": "row_splits", "user": "dense"}
    user = tf.constant([1, 2, 3], tf.int64)
    batch = {"user": user, "genres": RAGGED}
    # In order: the arguments of "genres:values" and "genres:row_splits".
    np.testing.assert_array_equal(
        answer(signature, RAGGED.values, RAGGED.row_splits, user), model(batch)
    )


@pytest.mark.slow
def test_the_padding_of_a_cross_is_that_of_its_inputs(tmp_path):
    model = made_model(cross_padding=0)
    record, signature = export(model, tmp_path)
    assert record.features["genres"]["padding"] == 0
    user = tf.constant([1, 2, 3], tf.int64)
    np.testing.assert_array_equal(
        answer(signature, PADDED, user),
        model({"user": user, "genres": RAGGED}),
    )


@pytest.mark.slow
def test_weights_of_ragged_ids_travel_as_row_splits(tmp_path):
    ids = ragged_input("ids")
    weights = ragged_input("weights", "float32")
    rows = mt.layers.DynamicEmbedding(config(), "sum", padding_id=1)(
        ids, weights=weights
    )
    model = tf_keras.Model([ids, weights], rows)
    record, signature = export(model, tmp_path)
    assert record.features["weights"]["kind"] == "row_splits"
    numbers = tf.constant([1.0, 2.0, 0.0, 0.5])
    np.testing.assert_array_equal(
        answer(
            signature,
            tf.constant([[5, 0, 7], [1, 1, 1], [9, 1, 1]], tf.int64),
            numbers,
            RAGGED.row_splits,
        ),
        model([RAGGED, RAGGED.with_values(numbers)]),
    )


class TwoTower(tf_keras.Model):
    """Reads two of the four inputs that its data has."""

    def __init__(self):
        super().__init__()
        self.towers = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("query", config("user")),
                mt.FeatureConfig(
                    "candidate", config("movie"), "sum", padding_id=0
                ),
            ]
        )

    def call(self, features):
        vectors = self.towers(
            {"query": features["user"], "candidate": features["movies"]}
        )
        return tf.reduce_sum(vectors["query"] * vectors["candidate"], -1)

    def train_step(self, data):
        features, _ = data
        with mt.event_time(features["time"][0]):
            return super().train_step(data)


def two_tower_batch():
    return {
        "user": tf.constant([1, 2, 3], tf.int64),
        "movies": RAGGED,
        "genres": RAGGED,
        "time": tf.constant([1_700_000_000] * 3, tf.int64),
    }


@pytest.mark.slow
def test_inputs_that_a_subclassed_model_never_reads_are_left_out(tmp_path):
    model = TwoTower()
    model.compile(mt.optimizers.with_tables("adam"), "mse")
    batch = two_tower_batch()
    data = tf.data.Dataset.from_tensor_slices((batch, [1.0, 0.0, 1.0]))
    model.fit(data.batch(3), verbose=0)
    record, signature = export(model, tmp_path)
    assert sorted(record.features) == ["movies", "user"]
    np.testing.assert_allclose(
        answer(signature, PADDED, batch["user"]), model(batch), rtol=1e-6
    )


@pytest.mark.slow
def test_inputs_that_a_functional_model_never_reads_are_left_out(tmp_path):
    inputs = {
        "user": tf_keras.Input([], dtype="int64", name="user"),
        "genres": ragged_input("genres"),
        "matrix": tf_keras.Input([3, 2], name="matrix"),
        "name": tf_keras.Input([], dtype="string", name="name"),
    }
    rows = mt.layers.DynamicEmbedding(config())(inputs["user"])
    model = tf_keras.Model(inputs, rows)
    record, signature = export(model, tmp_path, ragged="padded")
    assert list(record.features) == ["user"]
    user = tf.constant([5, 6], tf.int64)
    np.testing.assert_array_equal(
        answer(signature, user), model.layers[-1](user)
    )


@pytest.mark.slow
def test_inputs_that_are_listed_are_in_the_signature(tmp_path):
    model = TwoTower()
    batch = two_tower_batch()
    model(batch)
    specs = {name: tf.type_spec_from_value(v) for name, v in batch.items()}
    record, signature = export(model, tmp_path, inputs=specs)
    kinds = {name: f["kind"] for name, f in record.features.items()}
    assert kinds == {
        "genres": "row_splits",
        "movies": "padded",
        "time": "dense",
        "user": "dense",
    }
    # "movies", then the arguments of the row splits.
    inputs = [PADDED, RAGGED.values, RAGGED.row_splits, batch["time"]]
    np.testing.assert_allclose(
        answer(signature, *inputs, batch["user"]), model(batch), rtol=1e-6
    )
    with pytest.raises(
        ValueError,
        match="Ragged input 'genres' has no padding.*no feature reads it.*"
        "Leave it out of `inputs`",
    ):
        export(model, tmp_path, inputs=specs, ragged="padded")


@pytest.mark.slow
def test_a_function_inside_of_the_model_is_seen_by_the_name_of_its_feature(
    tmp_path,
):
    class Model(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.genres = mt.layers.EmbeddingCollection(
                [mt.FeatureConfig("genres", config(), "sum", padding_id=0)]
            )

        @tf.function
        def call(self, features):
            return self.genres(features)["genres"]

    model = Model()
    expected = model({"genres": RAGGED})
    record, signature = export(model, tmp_path)
    assert record.features["genres"]["padding"] == 0
    np.testing.assert_array_equal(answer(signature, PADDED), expected)


def test_ids_that_are_made_are_named_when_there_is_no_padding(tmp_path):
    with pytest.raises(
        ValueError,
        match="Ragged input 'genres' has no padding.*ids are made of it for "
        "feature 'crossed' and feature 'genres'.*CrossedIds.*"
        'ragged="row_splits"',
    ):
        export(made_model(), tmp_path, ragged="padded")


@pytest.mark.slow
def test_two_paddings_of_one_input_are_named_with_their_readers(tmp_path):
    g = ragged_input("genre_ids")
    layer = mt.layers.EmbeddingCollection(
        [
            mt.FeatureConfig("a", config(), "sum", padding_id=0),
            mt.FeatureConfig("b", config(), "mean", padding_id=5),
        ]
    )
    vectors = layer({"a": g, "b": g})
    model = tf_keras.Model(g, vectors["a"] + vectors["b"])
    with pytest.raises(
        ValueError,
        match="Ragged input 'genre_ids' is read by feature 'a' with padding_id"
        " 0 and feature 'b' with padding_id 5; a padded request has one",
    ):
        export(model, tmp_path, ragged="padded")
    record, signature = export(model, tmp_path)
    assert record.features["genre_ids"]["kind"] == "row_splits"
    np.testing.assert_array_equal(
        answer(signature, RAGGED.values, RAGGED.row_splits), model(RAGGED)
    )


@pytest.mark.slow
def test_dense_inputs_may_have_two_paddings(tmp_path):
    g = tf_keras.Input([None], dtype="int64", name="g")
    genre = config()
    rows = [
        mt.layers.DynamicEmbedding(genre, "sum", padding_id=padding)(g)
        for padding in (0, 5)
    ]
    model = tf_keras.Model(g, rows[0] + rows[1])
    record, signature = export(model, tmp_path)
    assert record.features["g"]["kind"] == "dense"
    np.testing.assert_array_equal(answer(signature, PADDED), model(PADDED))
