"""Examples without ids read zeros, or the row of a default id."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import ops

RAGGED = tf.ragged.constant([[3, 5], [], [0, 0], [0, 7]], tf.int64)
DENSE = RAGGED.to_tensor(0)
DEFAULT = 9


def make_config(name="movie", **kwargs):
    return mt.TableConfig(
        name,
        dim=1,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
        **kwargs,
    )


def make_layer(combiner, padding_id=0, default_id=DEFAULT, **kwargs):
    """Each id reads itself."""
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            make_config(),
            combiner,
            padding_id=padding_id,
            default_id=default_id,
            **kwargs,
        )
    ids = [-1, 0, 3, 5, 7, DEFAULT]
    layer.table.assign(ids, np.array(ids, np.float32)[:, None])
    return layer


@pytest.mark.parametrize(
    ("combiner", "expected"),
    [
        ("sum", [8, 9, 9, 7]),
        ("mean", [4, 9, 9, 7]),
        ("sqrtn", [8 / 2**0.5, 9, 9, 7]),
    ],
)
@pytest.mark.parametrize("ids", [RAGGED, DENSE, RAGGED.to_sparse()])
def test_an_example_without_ids_reads_the_row_of_the_default_id(
    ids, combiner, expected
):
    got = make_layer(combiner)(ids)
    np.testing.assert_allclose(got[:, 0], expected, rtol=1e-6)


def test_without_a_default_id_it_reads_zeros():
    for ids in (RAGGED, DENSE, RAGGED.to_sparse()):
        got = make_layer("sum", default_id=None)(ids)
        assert got[:, 0].numpy().tolist() == [8, 0, 0, 7]


def test_without_padding_only_empty_examples_miss_their_ids():
    got = make_layer("sum", padding_id=None)(RAGGED)
    assert got[:, 0].numpy().tolist() == [8, 9, 0, 7]


def test_first_n_puts_the_default_first_and_zeros_behind():
    for ids in (RAGGED, DENSE):
        got = make_layer("first_n", max_sequence_length=2)(ids)
        assert got[..., 0].numpy().tolist() == [[3, 5], [9, 0], [9, 0], [7, 0]]


def test_without_a_combiner_padding_reads_it_and_is_not_masked():
    layer = make_layer(None)
    vectors = layer(DENSE)
    assert vectors[..., 0].numpy().tolist() == [[3, 5], [9, 9], [9, 9], [9, 7]]
    assert layer.compute_mask(DENSE) is None
    assert layer(RAGGED).to_list() == [
        [[3], [5]],
        [],
        [[9], [9]],
        [[9], [7]],
    ]


def test_a_default_id_has_the_weight_one():
    layer = make_layer("sum")
    for ids in (RAGGED, DENSE, RAGGED.to_sparse()):
        weights = (
            ids.with_values(tf.fill([6], 0.5))
            if isinstance(ids, tf.RaggedTensor)
            else tf.fill([4, 2], 0.5)
            if isinstance(ids, tf.Tensor)
            else tf.SparseTensor(ids.indices, [0.5] * 6, ids.dense_shape)
        )
        got = layer(ids, weights=weights)
        assert got[:, 0].numpy().tolist() == [4, 9, 9, 3.5]


def test_a_gradient_of_weights_is_refused_with_a_default_id_too():
    layer = make_layer("sum")
    weights = tf.ones([4, 2])
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = tf.reduce_sum(layer(DENSE, weights=weights))
    with pytest.raises(LookupError, match="tf.stop_gradient"):
        tape.gradient(loss, weights)


def test_dense_examples_of_length_zero_miss_their_ids():
    layer = make_layer("mean", padding_id=None)
    empty = tf.zeros([2, 0], tf.int64)
    assert layer(empty)[:, 0].numpy().tolist() == [9, 9]

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64)])
    def read(ids):
        return layer(ids)

    assert read(empty)[:, 0].numpy().tolist() == [9, 9]
    assert read(DENSE[:1])[:, 0].numpy().tolist() == [4]


def test_the_missing_row_is_trained_counted_and_admitted_as_any_other():
    """Three of four examples miss their ids: the fourth update is one step."""
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig(
                    "ids",
                    make_config(admission=mt.Admission(min_count=5)),
                    "mean",
                    padding_id=0,
                    default_id=DEFAULT,
                )
            ]
        )
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def train(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer({"ids": ids})["ids"])
        variables = layer.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables)
        )

    (table,) = layer.tables
    ids = tf.ragged.constant([[], [0], [3, 3], []], tf.int64)
    train(ids)
    assert (table.size(), table.stats().num_counted) == (0, 2)
    train(ids)  # six times by now
    assert table.size() == 1
    np.testing.assert_array_equal(table.lookup([DEFAULT]), [[-3]])
    # Eagerly, over slices, the same.
    train.python_function(ids)
    np.testing.assert_array_equal(table.lookup([DEFAULT, 3]), [[-6], [-1]])


def test_each_feature_of_a_table_decides_for_itself():
    config = make_config()
    features = [
        mt.FeatureConfig("zeros", config, "sum"),
        mt.FeatureConfig("seven", config, "sum", default_id=7),
        mt.FeatureConfig("three", config, "sum", default_id=3),
    ]
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(features)
    layer.tables[0].assign([3, 7], np.array([[3.0], [7.0]], np.float32))
    got = layer({f.name: RAGGED[1:2] for f in features})
    assert {name: float(v[0, 0]) for name, v in got.items()} == {
        "zeros": 0,
        "seven": 7,
        "three": 3,
    }


def random_feature(rng):
    """Ids in one of the structures, with or without weights."""
    combiner = rng.choice(["sum", "mean", "sqrtn", "first_n", None])
    padding_id = rng.choice([0, None])
    if combiner is None:
        padding_id = 0
    shape = tuple(rng.integers(0, 4, rng.integers(1, 4)))
    splits = None
    if rng.random() < 0.5:
        lengths = rng.integers(0, 3, rng.integers(0, 6))
        splits = tf.constant([0, *np.cumsum(lengths)], tf.int64)
        shape = (int(lengths.sum()),)
    ids = rng.integers(0, 3, shape)
    weights = None
    if rng.random() < 0.5:
        weights = tf.constant(rng.random(shape), tf.float32)
    return ops.FeatureBatch(
        tf.constant(ids, tf.int64),
        splits,
        weights,
        combiner,
        2 if combiner == "first_n" else 0,
        padding_id,
        default_id=None if rng.random() < 0.2 else DEFAULT,
    )


def test_stock_ops_fill_as_the_op_does():
    rng = np.random.default_rng(7)
    for _ in range(60):
        features = [random_feature(rng) for _ in range(3)]
        for ours, stock in zip(
            ops.fill_missing(features),
            ops.stock_fill_missing(features),
            strict=True,
        ):
            for field in ("ids", "splits", "weights"):
                one, other = getattr(ours, field), getattr(stock, field)
                assert (one is None) == (other is None)
                if one is not None:
                    np.testing.assert_array_equal(one, other, str(ours))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], []),
        ([0, 3], [DEFAULT, 3]),
        ([[0, 0], [3, 0]], [[DEFAULT, 0], [3, 0]]),
        ([[], []], [[DEFAULT], [DEFAULT]]),
    ],
)
def test_ids_of_an_unknown_rank_are_filled_too(ids, expected):
    for fill in (ops.fill_missing, ops.stock_fill_missing):

        @tf.function(input_signature=[tf.TensorSpec(None, tf.int64)])
        def filled(ids, fill=fill):
            feature = ops.FeatureBatch(
                ids, combiner="sum", padding_id=0, default_id=DEFAULT
            )
            return fill([feature])[0].ids

        assert filled(tf.constant(ids, tf.int64)).numpy().tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("ragged", ["padded", "row_splits"])
def test_trainer_and_export_agree_on_missing_values(tmp_path, ragged):
    inputs = {
        "ragged": tf_keras.Input([None], dtype="int64", ragged=True),
        "dense": tf_keras.Input([3], dtype="int64"),
        "single": tf_keras.Input([], dtype="int64"),
    }
    config = make_config()
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("ragged", config, "mean", 0, default_id=7),
                mt.FeatureConfig("dense", config, "sum", 0, default_id=DEFAULT),
                mt.FeatureConfig("single", config, None, 0, default_id=-1),
            ]
        )
    vectors = layer(inputs)
    model = tf_keras.Model(
        inputs, tf_keras.layers.Concatenate()(list(vectors.values()))
    )
    layer.tables[0].assign(
        [-1, 3, 7, DEFAULT],
        np.array([[-1.0], [3.0], [7.0], [9.0]], np.float32),
    )
    batch = {
        "ragged": tf.ragged.constant([[], [3], [0]], tf.int64),
        "dense": tf.constant([[0, 0, 0], [0, 3, 3], [0, 0, 0]], tf.int64),
        "single": tf.constant([3, 0, 0], tf.int64),
    }
    expected = model(batch)
    by_name = dict(zip(vectors, tf.transpose(expected).numpy().tolist()))
    assert by_name == {
        "ragged": [7, 3, 7],
        "dense": [9, 6, 9],
        "single": [3, -1, -1],
    }
    mt.serving.export_saved_model(model, tmp_path, ragged=ragged)
    (version,) = tmp_path.glob("*/saved_model.pb")
    served = tf.saved_model.load(str(version.parent))
    serve = served.signatures["serving_default"]
    request = {"dense": batch["dense"], "single": batch["single"]}
    if ragged == "padded":
        request["ragged"] = batch["ragged"].to_tensor(0)
    else:
        request["ragged:values"] = batch["ragged"].values
        request["ragged:row_splits"] = batch["ragged"].row_splits
    (answer,) = serve(**request).values()
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"default_id": "a"}, TypeError, "default_id .* must be an integer"),
        ({"default_id": 1 << 63}, ValueError, "default_id .* an int64"),
        (
            {"default_id": 3, "padding_id": 3, "combiner": "sum"},
            ValueError,
            "must differ from its padding_id",
        ),
        ({"default_id": 3}, ValueError, "it needs a padding_id"),
    ],
)
def test_a_default_id_that_cannot_be_is_refused(kwargs, error, message):
    with pytest.raises(error, match=message):
        mt.FeatureConfig("ids", make_config(), **kwargs)


@pytest.mark.parametrize("name", ["ragged", "weighted"])
def test_an_op_without_the_inputs_it_says_is_refused(name):
    arguments = {
        "single": [False],
        "ragged": [False],
        "weighted": [False],
        "padded": [False],
        "padding_ids": [0],
        "default_ids": [1],
    }
    arguments[name] = [True]

    def call():
        return ops.library.library.monolith_fill_missing(
            [tf.zeros([2, 2], tf.int64)], [], [], **arguments
        )

    message = f"must have one entry per {name} feature, 1. Received: 0"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call()
    with pytest.raises(ValueError, match=message):
        tf.function(call).get_concrete_function()
