"""Every kind of feature together, in every kind of model, kept and loaded."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.placement.registry import tables_of

BATCH = 8
LENGTH = 5


def make_layer():
    """The features; they share tables, and names of rows are packed."""
    item = mt.TableConfig(
        "item",
        segments=[
            mt.Segment(1, optimizer=mt.optimizers.Ftrl(0.1)),
            mt.Segment(3, optimizer=mt.optimizers.Adam(0.1)),
        ],
        admission=mt.Admission(min_count=2),
        seed=3,
    )
    small = mt.TableConfig("small", dim=2, optimizer=mt.optimizers.SGD(0.2))
    return mt.layers.EmbeddingCollection(
        [
            mt.FeatureConfig("item", item, min_count=1),
            mt.FeatureConfig(
                "shown", item, "mean", padding_id=0, default_id=-7
            ),
            mt.FeatureConfig("history", item, padding_id=0),
            mt.FeatureConfig(
                "last", item, "first_n", padding_id=0, max_sequence_length=2
            ),
            mt.FeatureConfig("crossed", small, "sum", default_id=9),
            mt.FeatureConfig("genres", small, "sqrtn"),
            mt.FeatureConfig("country", small, padding_id=0, default_id=1),
        ],
        name="features",
    )


INPUTS = {
    "item": tf.TensorSpec([None], tf.int64),
    "shown": tf.TensorSpec([None, LENGTH], tf.int64),
    "history": tf.TensorSpec([None, LENGTH], tf.int64),
    "genres": tf.RaggedTensorSpec([None, None], tf.int64),
    "country": tf.TensorSpec([None], tf.int64),
    "weights": tf.TensorSpec([None, LENGTH], tf.float32),
}


def batch():
    rng = np.random.default_rng(4)
    lengths = rng.integers(0, 3, BATCH)
    shown = rng.integers(0, 3, [BATCH, LENGTH])
    shown[::2] = 0
    history = np.sort(rng.integers(0, 6, [BATCH, LENGTH]))[:, ::-1]
    return {
        "item": tf.constant(rng.integers(1, 9, BATCH)),
        "shown": tf.constant(shown),
        "history": tf.constant(history.copy()),
        "genres": tf.RaggedTensor.from_row_lengths(
            tf.constant(rng.integers(0, 5, lengths.sum())), lengths
        ),
        "country": tf.constant([47, 0, 354, 47] * (BATCH // 4), tf.int64),
        "weights": tf.constant(rng.random([BATCH, LENGTH]), tf.float32),
    }


@tf_keras.saving.register_keras_serializable(package="all_features_test")
class Tower(tf_keras.layers.Layer):
    """From inputs to one number: layers only, so that models may hold it."""

    def __init__(self, embeddings=None, **kwargs):
        super().__init__(**kwargs)
        self.embeddings = embeddings or make_layer()
        self.cross = mt.layers.CrossedIds(salt=5)
        self.pack = mt.layers.PackedIds(3)
        self.rnn = tf_keras.layers.SimpleRNN(2)
        self.dense = tf_keras.layers.Dense(1)

    def call(self, inputs):
        inputs = dict(inputs)
        weights = {"shown": inputs.pop("weights")}
        inputs["crossed"] = self.cross([inputs["item"], inputs["genres"]])
        inputs["last"] = inputs["history"]
        inputs["genres"] = self.pack(inputs["genres"])
        vectors = self.embeddings(inputs, weights=weights)
        wide = vectors["item"][:, :1]
        deep = [
            vectors["item"][:, 1:],
            self.rnn(vectors["history"]),
            tf.reshape(vectors["last"], [-1, 8]),
            *(vectors[n] for n in ("shown", "crossed", "genres", "country")),
        ]
        return wide + self.dense(tf.concat(deep, axis=-1))

    def get_config(self):
        config = super().get_config()
        config["embeddings"] = tf_keras.saving.serialize_keras_object(
            self.embeddings
        )
        return config

    @classmethod
    def from_config(cls, config):
        config["embeddings"] = tf_keras.saving.deserialize_keras_object(
            config["embeddings"]
        )
        return cls(**config)


def functional():
    """Written out: each layer is one of the model's own."""
    inputs = {
        name: tf_keras.Input(type_spec=spec, name=name)
        for name, spec in INPUTS.items()
    }
    ids = {n: inputs[n] for n in ("item", "shown", "history", "country")}
    ids["crossed"] = mt.layers.CrossedIds(salt=5)(
        [inputs["item"], inputs["genres"]]
    )
    ids["last"] = inputs["history"]
    ids["genres"] = mt.layers.PackedIds(3)(inputs["genres"])
    vectors = make_layer()(ids, weights={"shown": inputs["weights"]})
    deep = tf_keras.layers.Concatenate()(
        [
            vectors["item"][:, 1:],
            tf_keras.layers.SimpleRNN(2)(vectors["history"]),
            tf_keras.layers.Flatten()(vectors["last"]),
            *(vectors[n] for n in ("shown", "crossed", "genres", "country")),
        ]
    )
    outputs = vectors["item"][:, :1] + tf_keras.layers.Dense(1)(deep)
    return tf_keras.Model(inputs, outputs)


@tf_keras.saving.register_keras_serializable(package="all_features_test")
class Subclassed(tf_keras.Model):
    def __init__(self, tower=None, **kwargs):
        super().__init__(**kwargs)
        self.tower = tower or Tower()

    def call(self, inputs):
        return self.tower(inputs)

    def get_config(self):
        return {"tower": tf_keras.saving.serialize_keras_object(self.tower)}

    @classmethod
    def from_config(cls, config):
        return cls(tf_keras.saving.deserialize_keras_object(config["tower"]))


MODELS = [functional, Subclassed]


def train(model, epochs=1):
    data = tf.data.Dataset.from_tensors((batch(), tf.ones([BATCH, 1])))
    model.fit(data.repeat(2), epochs=epochs, verbose=0)


def contents(model):
    """Table name to id to weights and slots."""
    return {
        table.name: {
            int(one): row.tobytes()
            for ids, _, rows in export_rows(table)
            for one, row in zip(ids, rows, strict=True)
        }
        for table in tables_of(model)
    }


def embeddings_of(model):
    (found,) = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, mt.layers.EmbeddingCollection)
    ]
    return found


def config_of(layer):
    """The config, without what says which of its parts are one object."""

    def without_ids(value):
        if isinstance(value, dict):
            return {
                name: without_ids(part)
                for name, part in value.items()
                if name != "shared_object_id"
            }
        if isinstance(value, (list, tuple)):
            return [without_ids(part) for part in value]
        return value

    return without_ids(layer.get_config())


@pytest.mark.slow
@pytest.mark.parametrize("make_model", MODELS)
def test_a_model_of_all_features_is_kept_and_goes_on(tmp_path, make_model):
    with mt.TableSet():
        model = make_model()
    model.compile(mt.optimizers.with_tables("adam"), "mse")
    train(model)
    before = contents(model)
    # Ids of the three tables' features got rows, the missing ones too.
    assert set(before) == {"item", "small"}
    assert -7 in before["item"]
    assert {9, 1} <= set(before["small"])
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = tf_keras.models.load_model(path)
    assert contents(loaded) == before
    one, other = embeddings_of(model), embeddings_of(loaded)
    assert config_of(other) == config_of(one)
    assert [t.name for t in other.tables] == [t.name for t in one.tables]
    np.testing.assert_array_equal(loaded(batch()), model(batch()))
    train(model)
    train(loaded)
    assert contents(loaded) == contents(model) != before
    np.testing.assert_array_equal(loaded(batch()), model(batch()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "spec"),
    [
        (
            lambda table: [
                mt.layers.DynamicEmbedding(table, "mean", 0, default_id=9),
            ],
            tf.TensorSpec([None, LENGTH], tf.int64),
        ),
        (
            lambda table: [
                mt.layers.PackedIds(2),
                mt.layers.DynamicEmbedding(
                    table, "first_n", max_sequence_length=2, min_count=1
                ),
                tf_keras.layers.SimpleRNN(2),
            ],
            tf.RaggedTensorSpec([None, None], tf.int64),
        ),
        (
            lambda table: [
                mt.layers.StringIds(),
                mt.layers.DynamicEmbedding(table, "sum", default_id=9),
            ],
            tf.RaggedTensorSpec([None, None], tf.string),
        ),
    ],
    ids=["dense", "packed", "strings"],
)
def test_a_sequential_model_is_kept_and_goes_on(tmp_path, layers, spec):
    config = mt.TableConfig("one", 3, admission=mt.Admission(min_count=2))
    with mt.TableSet():
        model = tf_keras.Sequential(
            [
                tf_keras.Input(type_spec=spec),
                *layers(config),
                tf_keras.layers.Dense(1),
            ]
        )
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    ids = batch()["shown"]
    if spec.dtype == tf.string:
        ids = tf.strings.as_string(ids)
    if isinstance(spec, tf.RaggedTensorSpec):
        ids = tf.RaggedTensor.from_tensor(ids, lengths=[0, 3, 5, 1] * 2)
    data = tf.data.Dataset.from_tensors((ids, tf.ones([BATCH, 1]))).repeat(3)
    model.fit(data, verbose=0)
    assert len(contents(model)["one"]) >= 3
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    assert contents(loaded) == contents(model)
    assert loaded.get_config()["layers"][-1] == model.get_config()["layers"][-1]
    model.fit(data, verbose=0)
    loaded.fit(data, verbose=0)
    assert contents(loaded) == contents(model)
    np.testing.assert_array_equal(loaded(ids), model(ids))


def test_floats_are_refused_though_keras_builds_loaded_models_by_them():
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(mt.TableConfig("one", 3))
    for ids in (tf.constant([1.0]), tf_keras.Input([2])):
        with pytest.raises(TypeError, match="needs int64 ids"):
            layer(ids)


@pytest.mark.slow
def test_an_export_answers_as_the_model(tmp_path):
    with mt.TableSet():
        model = functional()
    model.compile(mt.optimizers.with_tables("adam"), "mse")
    train(model)
    mt.serving.export_saved_model(model, tmp_path, ragged="row_splits")
    (version,) = tmp_path.glob("*/saved_model.pb")
    served = tf.saved_model.load(str(version.parent))
    request = batch()
    genres = request.pop("genres")
    (answer,) = served.signatures["serving_default"](
        **request,
        **{
            "genres:values": genres.values,
            "genres:row_splits": genres.row_splits,
        },
    ).values()
    np.testing.assert_allclose(answer, model(batch()), rtol=1e-5, atol=1e-6)


def test_a_layer_is_made_again_from_its_config_in_json():
    with mt.TableSet():
        layer = make_layer()
        config = tf_keras.saving.serialize_keras_object(layer)
    with mt.TableSet():
        again = tf_keras.saving.deserialize_keras_object(config)
    with mt.TableSet():
        direct = type(layer).from_config(layer.get_config())
        embedding = mt.layers.DynamicEmbedding(
            mt.TableConfig("one", 2), "first_n", 0, 3, None, 4, name="mine"
        )
    with mt.TableSet():
        copy = type(embedding).from_config(embedding.get_config())
    assert config_of(again) == config_of(direct) == config_of(layer)
    assert config_of(copy) == config_of(embedding)
    assert copy.name == "mine"


def test_features_of_one_config_share_rows_after_loading():
    with mt.TableSet():
        layer = make_layer()
    with mt.TableSet():
        again = type(layer).from_config(layer.get_config())
    assert [len(one.tables) for one in (layer, again)] == [2, 2]


def test_ids_of_a_functional_model_are_made_by_layers():
    ids = tf_keras.Input([None], dtype="int64", ragged=True)
    strings = tf_keras.Input([None], dtype="string", ragged=True)
    for function, message in [
        (lambda: mt.ids.cross([ids, ids], salt=3), "CrossedIds.salt=3."),
        (lambda: mt.ids.pack(7, ids), "PackedIds.7."),
        (lambda: mt.ids.from_strings(strings), "StringIds.."),
    ]:
        with pytest.raises(TypeError, match=f"mt.layers.{message}"):
            function()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: mt.layers.PackedIds(1 << 15), ValueError),
        (lambda: mt.layers.PackedIds("a"), TypeError),
        (lambda: mt.layers.CrossedIds(salt=-1), ValueError),
        (lambda: mt.layers.CrossedIds(padding_id=0.5), TypeError),
    ],
)
def test_numbers_that_do_not_fit_are_refused_when_a_layer_is_made(make, error):
    with pytest.raises(error, match=r"ids\.(pack|cross)"):
        make()
