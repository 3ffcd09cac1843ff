"""first_n and weights; the fused gradient equals the one of slices."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

IDS = tf.constant([[3, 0, 5, 7], [0, 0, 0, 0], [7, 3, 3, 0]], tf.int64)


def config(optimizer=None):
    return mt.TableConfig(
        "movie",
        dim=2,
        optimizer=optimizer or mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
    )


def make_layer(combiner=None, padding_id=None, max_sequence_length=None):
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            config(), combiner, padding_id, max_sequence_length
        )
    ids = np.arange(10)
    layer.table.assign(ids, np.stack([ids, 10 * ids], -1).astype("f"))
    return layer


def test_first_n_keeps_the_first_ids_that_are_no_padding():
    got = make_layer("first_n", 0, 2)(IDS)
    assert got.numpy().tolist() == [
        [[3, 30], [5, 50]],
        [[0, 0], [0, 0]],
        [[7, 70], [3, 30]],
    ]


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_first_n_of_short_lists_is_filled_with_zeros(kind):
    ids = tf.ragged.constant([[3, 5, 7], [], [7]], tf.int64)
    if kind == "sparse":
        ids = ids.to_sparse()
    got = make_layer("first_n", max_sequence_length=2)(ids)
    assert got.shape == [3, 2, 2]
    assert got[..., 0].numpy().tolist() == [[3, 5], [0, 0], [7, 0]]


def test_ids_that_first_n_cuts_off_get_no_gradient_and_no_row():
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            config(), "first_n", max_sequence_length=2
        )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[4, 5, 6], [4, 4, 7]])))
    (gradient,) = tape.gradient(loss, layer.trainable_variables)
    assert gradient.indices.numpy().tolist() == [4, 5, 4, 4]
    mt.optimizers.with_tables("sgd").apply_gradients(
        [(gradient, layer.trainable_variables[0])]
    )
    assert layer.table.size() == 2
    assert layer.table.lookup([4, 5, 6])[:, 0].numpy().tolist() == [-3, -1, 0]


def test_first_n_needs_a_length_and_others_refuse_it():
    with pytest.raises(TypeError, match="needs an integer max_sequence_length"):
        mt.FeatureConfig("a", config(), combiner="first_n")
    with pytest.raises(ValueError, match="from 1 to 2"):
        mt.FeatureConfig(
            "a", config(), combiner="first_n", max_sequence_length=0
        )
    with pytest.raises(ValueError, match="is for combiner='first_n'"):
        mt.FeatureConfig("a", config(), combiner="sum", max_sequence_length=2)


WEIGHTED = {
    # Rows 3 and 5 with weights 2 and 0.5; row 7 with weight 4.
    "sum": [[8.5, 85], [28, 280]],
    "mean": [[8.5 / 2.5, 34], [7, 70]],
    "sqrtn": [[8.5 / 4.25**0.5, 85 / 4.25**0.5], [7, 70]],
    "first_n": [[[6, 60], [2.5, 25]], [[28, 280], [0, 0]]],
}


@pytest.mark.parametrize("kind", ["dense", "ragged", "sparse"])
@pytest.mark.parametrize("combiner", WEIGHTED)
def test_weights_by_hand(combiner, kind):
    n = 2 if combiner == "first_n" else None
    ids = tf.ragged.constant([[3, 5], [7]], tf.int64)
    weights = tf.ragged.constant([[2.0, 0.5], [4.0]])
    if kind == "dense":
        # The weight of padding does not count.
        ids = ids.to_tensor(0)
        weights = weights.to_tensor(9.0)
    elif kind == "sparse":
        ids, weights = ids.to_sparse(), weights.to_sparse()
    layer = make_layer(combiner, 0, n)
    got = layer(ids, weights=weights)
    np.testing.assert_allclose(got, WEIGHTED[combiner], rtol=1e-6)
    compiled = tf.function(lambda i, w: layer(i, weights=w))(ids, weights)
    np.testing.assert_array_equal(got, compiled)


def test_weights_without_a_combiner_multiply_the_rows():
    got = make_layer()(tf.constant([3, 5]), weights=tf.constant([2.0, -1.0]))
    assert got.numpy().tolist() == [[6, 60], [-5, -50]]


def test_weights_that_sum_to_zero_give_zeros():
    got = make_layer("mean")(
        tf.constant([[3, 5]]), weights=tf.constant([[1.0, -1.0]])
    )
    assert got.numpy().tolist() == [[0, 0]]


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn", None])
def test_gradients_of_rows_carry_the_weights(combiner):
    layer = make_layer(combiner)
    ids = tf.constant([[3, 5, 3]], tf.int64)
    weights = tf.constant([[2.0, 1.0, 0.5]])
    rows = tf.Variable(layer.table.lookup(np.arange(10)))

    def expected():
        vectors = tf.gather(rows, ids) * weights[..., tf.newaxis]
        if combiner is None:
            return vectors
        total = tf.reduce_sum(vectors, axis=1)
        if combiner == "mean":
            return total / 3.5
        return total / 5.25**0.5 if combiner == "sqrtn" else total

    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(layer(ids, weights=weights) ** 2)
        dense_loss = tf.reduce_sum(expected() ** 2)
    gradient = tape.gradient(loss, layer.trainable_variables)[0]
    assert gradient.indices.numpy().tolist() == [3, 5, 3]
    dense = tf.convert_to_tensor(tape.gradient(dense_loss, rows))
    np.testing.assert_allclose(
        tf.math.unsorted_segment_sum(gradient.values, gradient.indices, 10),
        dense,
        rtol=1e-5,
    )


def test_a_gradient_of_weights_is_refused():
    layer = make_layer("sum")
    variable = tf.Variable([[1.0, 2.0]])

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([[3, 5]]), weights=variable))
        return tape.gradient(loss, variable)

    with pytest.raises(LookupError, match="weights of feature 'ids' get no"):
        step()
    with pytest.raises(LookupError, match="weights of feature 'ids' get no"):
        tf.function(step, autograph=False)()


def test_weights_of_another_structure_are_refused():
    layer = make_layer("sum")
    dense = tf.constant([[3, 5]])
    ragged = tf.ragged.constant([[3], [5]], tf.int64)
    with pytest.raises(ValueError, match="need the structure of its ids"):
        layer(dense, weights=tf.ones([2, 1]))
    with pytest.raises(ValueError, match="a tf.RaggedTensor of shape"):
        layer(ragged, weights=tf.ones([2, 1]))
    with pytest.raises(TypeError, match="need dtype float32"):
        layer(dense, weights=tf.constant([[1, 2]]))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="stand where ids stand"
    ):
        layer(ragged, weights=tf.ragged.constant([[1.0, 2.0], []]))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="stand where ids stand"
    ):
        layer(
            ragged.to_sparse(),
            weights=tf.SparseTensor([[0, 0], [1, 1]], [1.0, 2.0], [2, 1]),
        )
    with mt.TableSet():
        collection = mt.layers.EmbeddingCollection(
            [mt.FeatureConfig("a", config())]
        )
    with pytest.raises(ValueError, match=r"got weights for \['b'\]"):
        collection({"a": dense}, weights={"b": dense})
    with pytest.raises(TypeError, match="weights as a dict"):
        collection({"a": dense}, weights=dense)


def test_a_functional_model_with_weights_and_first_n_is_saved(tmp_path):
    ids = tf_keras.Input([4], dtype="int64", name="ids")
    weights = tf_keras.Input([4], name="weights")
    shared = config()
    with mt.TableSet():
        collection = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig(
                    "a", shared, "first_n", padding_id=0, max_sequence_length=3
                )
            ]
        )
        layer = mt.layers.DynamicEmbedding(shared, "mean", 0)
    model = tf_keras.Model(
        [ids, weights],
        [
            collection({"a": ids}, weights={"a": weights})["a"],
            layer(ids, weights=weights),
        ],
    )
    layer.table.assign([3, 5, 7], np.array([[1.0, 2], [3, 4], [5, 6]], "f"))
    random = tf.random.stateless_uniform([3, 4], [1, 2])
    model.save(tmp_path / "m.keras")
    with mt.TableSet():
        loaded = tf_keras.models.load_model(tmp_path / "m.keras")
    for ours, theirs in zip(model([IDS, random]), loaded([IDS, random])):
        np.testing.assert_array_equal(ours, theirs)
        assert np.abs(ours).max() > 0


FEATURES = {
    "movie": {},
    "genres": {"combiner": "mean", "padding_id": 0},
    "tags": {"combiner": "sqrtn"},
    "history": {
        "combiner": "first_n",
        "max_sequence_length": 2,
        "padding_id": 0,
    },
    "cast": {"combiner": "sum"},
}


def inputs_of(random):
    lists = [random.integers(0, 9, k).tolist() for k in (2, 0, 4)]
    ragged = tf.RaggedTensor.from_row_lengths(
        tf.constant(sum(lists, []), tf.int64), [2, 0, 4]
    )
    return {
        "movie": tf.constant(random.integers(0, 9, 3)),
        "genres": tf.constant(random.integers(0, 9, [3, 4])),
        "tags": ragged,
        "history": tf.constant(random.integers(0, 9, [3, 4])),
        "cast": ragged.to_sparse(),
    }


# TensorFlow itself gives zeros for outputs of a function that nothing uses.
WAYS = [
    (path, used)
    for path in ("clipped", "eager", "in a function", "twice")
    for used in (tuple(FEATURES), ("movie", "tags"))
    if path != "in a function" or len(used) == len(FEATURES)
]


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize(("path", "used"), WAYS)
def test_fused_gradients_are_those_of_slices(path, used, num_shards):
    """Tables learn the same on every way that a gradient can take."""
    tables = {}
    for fused in (True, False):
        with mt.TableSet(num_shards=num_shards):
            one = mt.TableConfig("one", dim=2, optimizer=mt.optimizers.Adam())
            two = mt.TableConfig("two", dim=3, optimizer=mt.optimizers.Adam())
            layer = mt.layers.EmbeddingCollection(
                [
                    mt.FeatureConfig(
                        name, two if name == "cast" else one, **kwargs
                    )
                    for name, kwargs in FEATURES.items()
                ]
            )
        clip = {"clipnorm": 1e6} if path == "clipped" and not fused else {}
        optimizer = mt.optimizers.with_tables(tf_keras.optimizers.SGD(**clip))
        train(layer, optimizer, used, path if not fused else "fused")
        tables[fused] = layer.tables
    for ours, theirs in zip(tables[True], tables[False]):
        ids = np.arange(9)
        np.testing.assert_allclose(
            ours.lookup(ids), theirs.lookup(ids), rtol=1e-5, atol=1e-6
        )
        assert ours.size() == theirs.size()


def train(layer, optimizer, used, path):
    call = tf.function(lambda x: layer(x)) if path == "in a function" else layer

    def step(inputs):
        with tf.GradientTape() as tape:
            vectors = call(inputs)
            losses = [tf.reduce_sum(tf.sin(vectors[name])) for name in used]
            if path == "twice":
                vectors = call(inputs)
                losses += [
                    tf.reduce_sum(tf.sin(vectors[name])) for name in used
                ]
            loss = tf.add_n(losses) / (2.0 if path == "twice" else 1.0)
        variables = layer.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables))

    if path != "eager":
        step = tf.function(step)
    random = np.random.default_rng(0)
    for _ in range(3):
        step(inputs_of(random))


def test_a_feature_that_the_loss_leaves_out_changes_no_row():
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [mt.FeatureConfig("a", config()), mt.FeatureConfig("b", config())]
        )
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            vectors = layer({"a": tf.constant([1]), "b": tf.constant([2])})
            loss = tf.reduce_sum(vectors["a"])
        variables = layer.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables)
        )

    step()
    assert layer.tables[0].size() == 1


def test_the_gradient_of_a_mean_can_be_differentiated():
    layer = make_layer("mean")
    scale = tf.Variable(3.0)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            loss = tf.reduce_sum(layer(tf.constant([[3, 5]])) ** 2) * scale
        (gradient,) = inner.gradient(loss, layer.trainable_variables)
        penalty = tf.reduce_sum(gradient.values)
    # Each of the two slices is scale * 2 * mean / 2.
    np.testing.assert_allclose(outer.gradient(penalty, scale), 2 * (4 + 40))


def test_a_gradient_through_gather_of_vectors_reaches_the_rows():
    layer = make_layer("sum")
    with tf.GradientTape() as tape:
        vectors = layer(tf.constant([[3, 5], [7, 7]]))
        loss = tf.reduce_sum(tf.gather(vectors, [1, 1]))
    (gradient,) = tape.gradient(loss, layer.trainable_variables)
    assert gradient.indices.numpy().tolist() == [3, 5, 7, 7]
    assert gradient.values[:, 0].numpy().tolist() == [0, 0, 2, 2]
