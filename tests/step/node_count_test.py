"""A training step grows by at most one node for every feature more.

Counted are the nodes of the graph that TensorFlow executes, after inlining and
its own optimizations: those of the whole step, the model's and the dataset's
own ones included.
"""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

BATCH = 8
LIMIT = 1
# To join the vectors of several features, and split their gradient.
JOIN = 4
PER_STEP = ["Partition", "Lookup", "Combine", "CombineGradients", "Apply"]


def dense(number):
    return tf.reshape(tf.range(BATCH * 3, dtype=tf.int64) + number, [BATCH, 3])


def single(number):
    return tf.range(BATCH, dtype=tf.int64) + number


def ragged(number):
    return tf.RaggedTensor.from_row_lengths(
        tf.range(BATCH * 2, dtype=tf.int64) + number, [1, 3] * (BATCH // 2)
    )


def sparse(number):
    return tf.sparse.from_dense(dense(number))


KINDS = {
    "single": (single, [], {}),
    "sum": (dense, [3], {"combiner": "sum"}),
    "padded mean": (dense, [3], {"combiner": "mean", "padding_id": 0}),
    "first_n": (
        dense,
        [3],
        {"combiner": "first_n", "max_sequence_length": 2, "padding_id": 0},
    ),
    "ragged mean": (ragged, [None], {"combiner": "mean"}),
    "padded ragged": (ragged, [None], {"combiner": "sqrtn", "padding_id": 0}),
    "sparse sum": (sparse, [None], {"combiner": "sum"}),
}


def make_model(shape, value, feature, num_features, num_tables):
    with mt.TableSet():
        configs = [
            mt.TableConfig(f"table_{t}", dim=4, optimizer=mt.optimizers.Adam())
            for t in range(num_tables)
        ]
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig(f"{f:02}", configs[f % num_tables], **feature)
                for f in range(num_features)
            ]
        )
    inputs = {
        f"{f:02}": tf_keras.Input(
            shape,
            dtype="int64",
            name=f"{f:02}",
            ragged=isinstance(value, tf.RaggedTensor),
            sparse=isinstance(value, tf.SparseTensor),
        )
        for f in range(num_features)
    }
    vectors = list(layer(inputs).values())
    joined = tf.concat(vectors, axis=-1) if num_features > 1 else vectors[0]
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(1)(joined))
    model.compile(mt.optimizers.with_tables("adagrad"), "mse")
    return model


def step_nodes(executed, kind, num_features, num_tables):
    """The nodes of one step of `fit`, as they were executed."""
    make_ids, shape, feature = KINDS[kind]
    model = make_model(shape, make_ids(0), feature, num_features, num_tables)
    ids = {f"{f:02}": make_ids(f) for f in range(num_features)}
    labels = tf.zeros(
        [
            BATCH,
            *([1] if feature.get("max_sequence_length") is None else [2, 1]),
        ]
    )
    dataset = tf.data.Dataset.from_tensors((ids, labels)).repeat()
    return executed(lambda: model.fit(dataset, steps_per_epoch=1, verbose=0))


@pytest.fixture
def executed(executed_graphs):
    """The ops of the graph that looks up, of what a new function runs."""

    def ops_of(step):
        (ops,) = [
            [node.op for node in graph.node]
            for graph in executed_graphs(step)
            if any(node.op == "MonolithLookup" for node in graph.node)
        ]
        return ops

    return ops_of


# Some features and twice as many.
FEW, MANY = 8, 16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "own_tables", "few", "many"),
    [
        *((kind, True, FEW, MANY) for kind in ("single", "ragged mean")),
        ("padded mean", False, 26, 52),
        *(
            pytest.param(kind, True, FEW, MANY, marks=pytest.mark.soak)
            for kind in KINDS
            if kind not in ("single", "ragged mean")
        ),
    ],
)
def test_a_feature_more_is_at_most_one_node_more(
    executed, kind, own_tables, few, many
):
    counts = {}
    for num_features in (1, few, many):
        nodes = step_nodes(
            executed, kind, num_features, num_features if own_tables else 1
        )
        counts[num_features] = len(nodes)
        # Every op of the tables comes once, whatever the number of features.
        for op in PER_STEP:
            assert nodes.count(f"Monolith{op}") == 1
        # No slice of a gradient was written.
        assert "MonolithSlices" not in nodes
    assert counts[many] - counts[few] <= LIMIT * (many - few), counts
    assert counts[few] - counts[1] <= LIMIT * (few - 1) + JOIN, counts


@pytest.mark.slow
def test_weights_stay_within_the_limit_too(executed):
    def nodes(num_features):
        with mt.TableSet():
            layer = mt.layers.EmbeddingCollection(
                [
                    mt.FeatureConfig(
                        f"{f:02}",
                        mt.TableConfig(f"table_{f}", dim=4),
                        combiner="mean",
                    )
                    for f in range(num_features)
                ]
            )
        optimizer = mt.optimizers.with_tables("sgd")
        ids = {f"{f:02}": dense(f) for f in range(num_features)}
        weights = {name: tf.ones([BATCH, 3]) for name in ids}

        @tf.function
        def step(ids, weights):
            with tf.GradientTape() as tape:
                vectors = layer(ids, weights=weights)
                loss = tf.reduce_sum(
                    tf.concat(list(vectors.values()), axis=-1) ** 2
                )
            variables = layer.trainable_variables
            optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables)
            )

        # Arguments of the function are not work.
        ops = executed(lambda: step(ids, weights))
        return sum(op != "_Arg" for op in ops)

    assert nodes(MANY) - nodes(FEW) <= LIMIT * (MANY - FEW)


@pytest.mark.parametrize("kind", ["padded mean", "ragged mean"])
def test_min_counts_of_features_are_no_node_more(executed, kind):
    """But for the handle of their variable, an argument of the function."""
    make_ids, _, feature = KINDS[kind]

    def nodes(min_counts, **own):
        with mt.TableSet():
            config = mt.TableConfig(
                "table", dim=4, admission=mt.Admission(min_count=2)
            )
            layer = mt.layers.EmbeddingCollection(
                [
                    mt.FeatureConfig(
                        f"{f}", config, min_count=min_count, **feature
                    )
                    for f, min_count in enumerate(min_counts)
                ]
                + [
                    mt.FeatureConfig(f, config, **feature, **own[f])
                    for f in own
                ]
            )
        optimizer = mt.optimizers.with_tables("sgd")
        variables = layer.trainable_variables
        names = [f"{f}" for f in range(len(min_counts))] + [*own]
        ids = {name: make_ids(f) for f, name in enumerate(names)}

        @tf.function
        def step(ids):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.concat([*layer(ids).values()], -1))
            optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )

        ops = executed(lambda: step(ids))
        assert ops.count("MonolithCombineGradients") == 1
        assert "MonolithSlices" not in ops
        return sorted(op for op in ops if op != "_Arg")

    without = nodes([None] * 4)
    assert nodes([2, 2, None, None]) == without
    assert nodes([3, 4, None, 3]) == without
    assert nodes([3, 4, None], lot={"probability": 0.5}) == without


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "padded mean",
        "ragged mean",
        pytest.param("single", marks=pytest.mark.soak),
        pytest.param("sparse sum", marks=pytest.mark.soak),
    ],
)
def test_default_ids_are_one_node_for_all_features(executed, kind):
    make_ids, _, feature = KINDS[kind]

    def nodes(num_features, **more):
        with mt.TableSet():
            config = mt.TableConfig("table", dim=4)
            layer = mt.layers.EmbeddingCollection(
                [
                    mt.FeatureConfig(f"{f}", config, **feature, **more)
                    for f in range(num_features)
                ]
            )
        optimizer = mt.optimizers.with_tables("sgd")
        variables = layer.trainable_variables
        ids = {f"{f}": make_ids(f) for f in range(num_features)}

        @tf.function
        def step(ids):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.concat([*layer(ids).values()], -1))
            optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )

        return executed(lambda: step(ids))

    more = {"default_id": 77}
    if kind == "single":
        more["padding_id"] = 0
    for num_features in (2, FEW):
        filled = nodes(num_features, **more)
        assert filled.count("MonolithFillMissing") == 1
        assert "MonolithSlices" not in filled
        assert len(filled) <= len(nodes(num_features)) + 1


@pytest.mark.parametrize("num_features", [1, 26])
def test_a_serving_function_reads_by_one_lookup(num_features):
    make_ids, shape, feature = KINDS["padded mean"]
    model = make_model(shape, make_ids(0), feature, num_features, num_features)
    ids = {f"{f:02}": np.asarray(make_ids(f)) for f in range(num_features)}
    function = tf.function(model).get_concrete_function(
        {name: tf.constant(value) for name, value in ids.items()}
    )
    ops = [
        node.op
        for definition in (
            function.graph.as_graph_def(),
            *function.graph.as_graph_def().library.function,
        )
        for node in getattr(
            definition, "node", getattr(definition, "node_def", [])
        )
    ]
    assert ops.count("MonolithLookup") == 1
