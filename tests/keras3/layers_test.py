"""Inputs and outputs of the layers of Keras 3."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.placement.registry import tables_of

RAGGED = tf.ragged.constant([[1, 2], [], [3]], tf.int64)
COMBINERS = ["sum", "mean", "sqrtn", "first_n", None]


def make_layer(config, combiner=None, **kwargs):
    if combiner == "first_n":
        kwargs["max_sequence_length"] = 2
    with mt.TableSet():
        return mt.keras3.DynamicEmbedding(config, combiner, **kwargs)


@pytest.mark.parametrize("combiner", COMBINERS)
@pytest.mark.parametrize("kind", ["vector", "matrix", "ragged", "sparse"])
def test_outputs_and_symbolic_shapes_are_those_of_the_twin(
    make_config, combiner, kind
):
    ids = tf.constant([[1, 2], [0, 0], [3, 0]], tf.int64)
    inputs = {
        "vector": (ids[:, 0], keras.Input([], dtype="int64")),
        "matrix": (ids, keras.Input([2], dtype="int64")),
        "ragged": (RAGGED, keras.Input([None], dtype="int64", ragged=True)),
        "sparse": (
            RAGGED.to_sparse(),
            keras.Input([None], dtype="int64", sparse=True),
        ),
    }
    value, symbol = inputs[kind]
    layer = make_layer(make_config(), combiner)
    with mt.TableSet():
        twin = mt.layers.DynamicEmbedding(
            make_config(),
            combiner,
            max_sequence_length=2 if combiner == "first_n" else None,
        )
    found, expected = layer(value), twin(value)
    assert type(found) is type(expected)
    symbolic = layer(symbol)
    assert symbolic.ragged == isinstance(found, tf.RaggedTensor)
    assert found.shape[1:].is_compatible_with(symbolic.shape[1:])
    assert symbolic.dtype == "float32"
    if isinstance(found, tf.RaggedTensor):
        found, expected = found.to_tensor(), expected.to_tensor()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_weights_multiply_rows(make_config, combiner):
    layer = make_layer(make_config(), combiner)
    weights = RAGGED.with_values([0.5, 2.0, 3.0])
    with mt.TableSet():
        twin = mt.layers.DynamicEmbedding(make_config(), combiner)
    np.testing.assert_array_equal(
        layer(RAGGED, weights=weights), twin(RAGGED, weights=weights)
    )
    ids = keras.Input([3], dtype="int64")
    symbol = layer(ids, weights=keras.Input([3]))
    assert symbol.shape == (None, 2)


def test_a_functional_model_takes_weights(make_config):
    layer = make_layer(make_config(), "sum")
    ids, weights = keras.Input([2], dtype="int64"), keras.Input([2])
    model = keras.Model([ids, weights], layer(ids, weights=weights))
    found = model([tf.constant([[1, 2]], tf.int64), tf.constant([[2.0, 3.0]])])
    assert found.numpy().tolist() == [[5, 5]]


def test_a_collection_reads_all_features(make_config):
    config = make_config()
    with mt.TableSet():
        layer = mt.keras3.EmbeddingCollection(
            [
                mt.FeatureConfig("one", config),
                mt.FeatureConfig("many", config, "mean", padding_id=0),
                mt.FeatureConfig("history", make_config("item", dim=3)),
            ]
        )
    assert [table.name for table in layer.tables] == ["item", "movie"]
    found = layer(
        {"one": np.array([1, 2, 3]), "many": RAGGED, "history": RAGGED}
    )
    shapes = {name: value.shape.as_list() for name, value in found.items()}
    assert shapes == {"one": [3, 2], "many": [3, 2], "history": [3, None, 3]}
    assert found["many"].numpy().tolist() == [[1, 1], [0, 0], [1, 1]]
    assert len(layer.trainable_weights) == 2


def test_features_with_terms_of_their_own_have_weights_of_their_own(
    make_config,
):
    config = make_config(admission=mt.Admission(min_count=3))
    with mt.TableSet():
        layer = mt.keras3.EmbeddingCollection(
            [
                mt.FeatureConfig("shown", config),
                mt.FeatureConfig("bought", config, min_count=1),
                mt.FeatureConfig("drawn", config, probability=1),
            ]
        )
    assert len(layer.trainable_weights) == 3
    optimizer = mt.keras3.with_tables("sgd")
    variables = layer.trainable_variables
    with tf.GradientTape() as tape:
        ids = {"shown": [1], "bought": [2], "drawn": [3]}
        found = layer({name: np.array(value) for name, value in ids.items()})
        loss = sum(tf.reduce_sum(value) for value in found.values())
    optimizer.apply(tape.gradient(loss, variables), variables)
    (table,) = layer.tables
    # 2 and 3 are admitted at once, 1 after three occurrences.
    rows = table.lookup([1, 2, 3])[:, 0]
    assert rows.numpy().tolist() == [1, 0.5, 0.5]


def test_the_compute_dtype_is_that_of_the_layer(make_config):
    layer = make_layer(make_config(), dtype="mixed_float16")
    assert layer(tf.constant([1], tf.int64)).dtype == tf.float16
    assert layer(keras.Input([], dtype="int64")).dtype == "float16"


@pytest.mark.parametrize("symbolic", [False, True])
def test_float_ids_are_refused(make_config, symbolic):
    layer = make_layer(make_config())
    ids = keras.Input([2]) if symbolic else np.zeros([1, 2], np.float32)
    with pytest.raises(TypeError, match="needs int64 ids.*dtype='int64'"):
        layer(ids)


@pytest.mark.filterwarnings("ignore:Layer 'sequential")
def test_a_sequential_model_without_an_input_is_refused(make_config):
    model = keras.Sequential([make_layer(make_config(), "sum")])
    model.compile(mt.keras3.with_tables("sgd"), "mse")
    # Keras would cast the ids to float32.
    with pytest.raises(TypeError, match="sequential model with Input"):
        model.fit(np.array([[1, 2]]), np.zeros([1, 2]), verbose=0)


def test_names_that_are_no_features_are_refused(make_config):
    with mt.TableSet():
        layer = mt.keras3.EmbeddingCollection(
            [mt.FeatureConfig("a", make_config())]
        )
    ids = keras.Input([], dtype="int64")
    with pytest.raises(ValueError, match=r"\['a'\]. Received: \['b'\]"):
        layer({"b": ids})
    with pytest.raises(TypeError, match="needs a dict"):
        layer(ids)
    with pytest.raises(ValueError, match="needs at least one mt.FeatureConfig"):
        mt.keras3.EmbeddingCollection([])


def test_a_layer_in_a_tf_keras_model_is_refused(make_config):
    layer = make_layer(make_config())
    with pytest.raises(TypeError, match=r"Use mt\.layers\.DynamicEmbedding"):
        layer.call(tf_keras.Input([], dtype="int64"))

    class Model(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.held = [layer]

        def call(self, inputs):
            return self.held[0](inputs)

    with pytest.raises(TypeError, match="can't be part of a tf_keras model"):
        Model()(tf.constant([1], tf.int64))


def test_a_tf_keras_layer_in_a_keras_3_model_is_told_its_twin(make_config):
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [mt.FeatureConfig("a", make_config())]
        )
    with pytest.raises(TypeError, match=r"mt\.keras3\.EmbeddingCollection"):
        layer({"a": keras.Input([], dtype="int64")})


@pytest.mark.parametrize(
    "strategy",
    [
        tf.distribute.OneDeviceStrategy("cpu:0"),
        tf.distribute.MirroredStrategy(),
    ],
    ids=["one_device", "mirrored"],
)
def test_strategies_are_refused_with_the_way_that_works(make_config, strategy):
    with strategy.scope():
        with pytest.raises(ValueError, match="build the model with tf_keras"):
            mt.keras3.DynamicEmbedding(make_config())
    layer = make_layer(make_config())
    optimizer = mt.keras3.with_tables("sgd")
    variables = layer.trainable_variables
    optimizer.build(variables)

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([1], tf.int64)))
        optimizer.apply(tape.gradient(loss, variables), variables)

    with pytest.raises(ValueError, match="in one process only"):
        strategy.run(step)
    assert layer.table.size() == 0


def test_ids_are_made_by_layers():
    strings = keras.Input([None], dtype="string", name="strings")
    numbers = keras.Input([None], dtype="int64", name="numbers")
    hashed = mt.keras3.StringIds()(strings)
    crossed = mt.keras3.CrossedIds(salt=3, padding_id=0)([hashed, numbers])
    packed = mt.keras3.PackedIds(2)(numbers)
    model = keras.Model([strings, numbers], [hashed, crossed, packed])
    words = tf.constant([["a", "b"]])
    found = model([words, tf.constant([[5, 0]], tf.int64)])
    expected = mt.ids.from_strings(words)
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(
        found[1],
        mt.ids.cross(
            [expected, tf.constant([[5, 0]], tf.int64)], salt=3, padding_id=0
        ),
    )
    np.testing.assert_array_equal(found[2], mt.ids.pack(2, [[5, 0]]))
    again = keras.Model.from_config(model.get_config())
    for mine, theirs in zip(
        again([words, tf.constant([[5, 0]], tf.int64)]), found, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_ragged_ids_train_functional_and_subclassed_models(make_config):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = mt.keras3.DynamicEmbedding(make_config(), "sum")

        def call(self, inputs):
            return self.embedding(inputs)

    for kind in ("functional", "subclassed"):
        with mt.TableSet():
            if kind == "functional":
                ids = keras.Input([None], dtype="int64", ragged=True)
                layer = mt.keras3.DynamicEmbedding(make_config(), "sum")
                model = keras.Model(ids, layer(ids))
            else:
                model = Model()
        model.compile(
            mt.keras3.with_tables("sgd"), lambda _, y: tf.reduce_sum(y, -1)
        )
        data = tf.data.Dataset.from_tensors((RAGGED, tf.zeros([3, 2])))
        model.fit(data, verbose=0, shuffle=False)
        (table,) = tables_of(model)
        assert table.size() == 3
        # d loss / d row is 1 / 3, by the rate 0.5.
        np.testing.assert_allclose(
            table.lookup([1, 2, 3]), np.full([3, 2], 1 - 1 / 6), rtol=1e-6
        )
