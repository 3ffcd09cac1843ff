"""Features that share a table and admit ids at counts of their own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from feature_steps import WAYS
from feature_steps import ragged
from feature_steps import rows_of
from feature_steps import trainer

KINDS = {"exact": {}, "sketch": {"sketch_bytes": 1 << 16}}


def make_config(name="item", min_count=4, **admission):
    return mt.TableConfig(
        name,
        dim=1,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
        admission=mt.Admission(min_count=min_count, **admission),
    )


# What the features a, b and c have, and the rows that there are then. Ids are
# admitted from 2 occurrences on in a, from 3 in b, from 4 in c.
BATCHES = [
    # 7 occurs twice, once in a. 8, 9 and 12 wait.
    (([7], [7, 8], [9, 12]), {7: -2}),
    # 8 has occurred 3 times, now in b too; 9 as often, in c alone. 12 has
    # occurred twice, now in a.
    (([12], [8], [8, 9, 9]), {7: -2, 8: -2, 12: -1}),
    # 9 has occurred 4 times. 10 is new.
    (([10], [], [9]), {7: -2, 8: -2, 12: -1, 9: -1}),
    # 10 has occurred 3 times, now in b and c. Occurrences in a do not count.
    (([], [10], [10, 11]), {7: -2, 8: -2, 12: -1, 9: -1, 10: -2}),
    # Whoever has a row keeps it.
    (([], [], [7]), {7: -3, 8: -2, 12: -1, 9: -1, 10: -2}),
]


@pytest.mark.parametrize(
    ("way", "kind", "num_shards"),
    # Every two values of two of them meet.
    [
        (way, kind, (1, 3)[(i + j) % 2])
        for i, way in enumerate(WAYS)
        for j, kind in enumerate(KINDS)
    ],
)
def test_the_smallest_min_count_of_the_features_of_a_batch_holds(
    way, kind, num_shards
):
    config = make_config(**KINDS[kind])
    with mt.TableSet(num_shards=num_shards):
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, "sum", min_count=2),
                mt.FeatureConfig("b", config, "sum", min_count=3),
                mt.FeatureConfig("c", config, "sum"),
            ]
        )
    assert len(layer.trainable_variables) == 3
    step = trainer(
        way,
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )
    for batch, expected in BATCHES:
        step(dict(zip("abc", (ragged(*ids) for ids in batch), strict=True)))
        assert rows_of(layer.tables[0]) == expected


class Oracle:
    """A dict of counts and a dict of rows."""

    def __init__(self, min_count):
        self.min_count = min_count
        self.counts = {}
        self.rows = {}

    def step(self, features):
        """Takes the ids of each feature with its min_count, or None."""
        occurred, least = {}, {}
        for ids, min_count in features:
            for id in ids:
                occurred[id] = occurred.get(id, 0) + 1
                threshold = self.min_count if min_count is None else min_count
                least[id] = min(threshold, least.get(id, threshold))
        for id, count in occurred.items():
            if id not in self.rows:
                self.counts[id] = self.counts.get(id, 0) + count
                if self.counts[id] < least[id]:
                    continue
                self.rows[id] = 0
            self.rows[id] -= count


COMBINERS = [
    {},
    {"combiner": "sum"},
    {"combiner": "first_n", "max_sequence_length": 2},
]
PADDING = 0


@pytest.mark.parametrize(("seed", "way"), list(enumerate(WAYS)))
def test_random_features_agree_with_a_dict(seed, way):
    random = np.random.default_rng(seed)
    kinds = [KINDS["exact"], KINDS["sketch"], KINDS["exact"]]
    configs = [
        make_config(f"table_{number}", int(random.integers(2, 7)), **kind)
        for number, kind in enumerate(kinds)
    ]
    features = [
        mt.FeatureConfig(
            f"{number}",
            configs[number % 3],
            padding_id=PADDING if random.random() < 0.5 else None,
            min_count=(
                int(random.integers(1, 9)) if random.random() < 0.6 else None
            ),
            **COMBINERS[random.integers(3)],
        )
        for number in range(9)
    ]
    with mt.TableSet(num_shards=1 + seed % 3):
        layer = mt.layers.EmbeddingCollection(features)
    oracles = {c.name: Oracle(c.admission.min_count) for c in configs}
    step = trainer(
        way,
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )
    for _ in range(12):
        batch = {f.name: random.integers(0, 40, [2, 3]) for f in features}
        step({name: tf.constant(ids) for name, ids in batch.items()})
        for config in configs:
            oracles[config.name].step(
                (asked_for(feature, batch[feature.name]), feature.min_count)
                for feature in features
                if feature.config is config
            )
        for table in layer.tables:
            oracle = oracles[table.name]
            if table.config.admission.kind == "count":
                assert rows_of(table) == oracle.rows
                assert table.stats().num_counted == len(
                    oracle.counts.keys() - oracle.rows.keys()
                )
            else:
                # Never late; so few ids do not meet in a sketch.
                assert rows_of(table) == oracle.rows


def asked_for(feature, ids):
    asked = []
    for example in ids.tolist():
        kept = [id for id in example if id != feature.padding_id]
        asked += kept[: feature.max_sequence_length or 1 << 20]
    return asked


@pytest.mark.parametrize("in_function", [False, True])
def test_two_layers_of_one_table_have_their_own(in_function):
    config = make_config(min_count=3)
    with mt.TableSet():
        first = mt.layers.DynamicEmbedding(config, min_count=2)
        second = mt.layers.DynamicEmbedding(config)
    table = first.table
    assert second.table is table
    step = trainer(
        "fused" if in_function else "eager",
        lambda ids: [first(ids[0]), second(ids[1])],
        table.trainable_variables,
    )
    # 1 occurs twice, 2 once in the first and 4 twice in the second.
    step((tf.constant([1, 2]), tf.constant([1, 4, 4])))
    assert rows_of(table) == {1: -2}
    step((tf.constant([2]), tf.constant([4])))
    assert rows_of(table) == {1: -2, 2: -1, 4: -1}


def test_a_persistent_tape_and_accumulation_keep_the_min_count():
    config = make_config(min_count=9)
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, min_count=2),
                mt.FeatureConfig("b", config),
            ]
        )
    variables = layer.trainable_variables
    optimizer = mt.optimizers.with_tables("sgd")
    batches = []
    for ids in ([1, 2], [1, 3]):
        with tf.GradientTape(persistent=True) as tape:
            vectors = layer({"a": tf.constant(ids), "b": tf.constant([5])})
            loss = tf.reduce_sum(vectors["a"]) + tf.reduce_sum(vectors["b"])
            other = 2.0 * loss
        tape.gradient(other, variables)
        batches.append(tape.gradient(loss, variables))
    summed = [mt.optimizers.sum_gradients(g) for g in zip(*batches)]
    optimizer.apply_gradients(zip(summed, variables, strict=True))
    assert rows_of(layer.tables[0]) == {1: -2}


def test_a_feature_that_the_loss_leaves_out_brings_nothing():
    config = make_config(min_count=3)
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, min_count=1),
                mt.FeatureConfig("b", config),
            ]
        )
    step = trainer(
        "fused",
        lambda ids: [layer({"a": ids, "b": ids})["b"]],
        layer.trainable_variables,
    )
    for expected in ({}, {}, {7: -1}):
        step(tf.constant([7]))
        assert rows_of(layer.tables[0]) == expected


@pytest.mark.parametrize(
    "clip", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}]
)
def test_clipping_takes_the_gradients_of_a_table_as_one(clip):
    learned = []
    for min_count in (None, 1):
        config = make_config(min_count=2)
        with mt.TableSet():
            layer = mt.layers.EmbeddingCollection(
                [
                    mt.FeatureConfig("a", config, min_count=min_count),
                    mt.FeatureConfig("b", config),
                ]
            )
        optimizer = mt.optimizers.with_tables(tf_keras.optimizers.SGD(**clip))
        variables = layer.trainable_variables
        weight = tf.Variable([3.0, 4.0])
        variables.insert(0, weight)
        for _ in range(2):
            with tf.GradientTape() as tape:
                vectors = layer(
                    {"a": tf.constant([1, 1]), "b": tf.constant([2, 2, 1])}
                )
                loss = tf.reduce_sum(vectors["a"] * 3 + tf.reduce_sum(weight))
                loss += tf.reduce_sum(vectors["b"] * 4)
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
        learned.append([*layer.tables[0].lookup([1, 2])[:, 0], *weight])
    np.testing.assert_allclose(*learned, rtol=1e-6)
    assert learned[0][0] != 0


def test_a_frozen_layer_brings_nothing():
    config = make_config()
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(config, min_count=2)
    layer.trainable = False
    assert layer.trainable_variables == []
    assert len(layer.variables) == 2


def test_the_min_count_of_the_table_is_no_other():
    config = make_config(min_count=4)
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(config, min_count=4)
    assert len(layer.trainable_variables) == 1


def test_a_layer_is_saved_with_its_min_counts(tmp_path):
    config = make_config()
    inputs = {n: tf_keras.Input([], dtype="int64", name=n) for n in "ab"}
    with mt.TableSet():
        collection = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, min_count=2),
                mt.FeatureConfig("b", config),
            ]
        )
        layer = mt.layers.DynamicEmbedding(config, min_count=3)
        vectors = collection(inputs)
        output = vectors["a"] + vectors["b"] + layer(inputs["a"])
    model = tf_keras.Model(inputs, output)
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    model.save(tmp_path / "model.keras")
    with mt.TableSet():
        loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    features = loaded.get_layer(collection.name).features
    assert [feature.min_count for feature in features] == [2, None]
    assert loaded.get_layer(layer.name).get_config()["min_count"] == 3
    # What was saved before there were min_counts has none.
    old = collection.get_config()
    for feature in old["features"]:
        del feature["min_count"]
    with mt.TableSet():
        again = mt.layers.EmbeddingCollection.from_config(old)
    assert [feature.min_count for feature in again.features] == [None, None]


@pytest.mark.parametrize("way", ["weights", "checkpoint"])
def test_a_model_restores_into_one_of_other_min_counts(way, tmp_path):
    def make(min_count):
        config = make_config(min_count=2)
        with mt.TableSet():
            layer = mt.layers.DynamicEmbedding(config, min_count=min_count)
        model = tf_keras.Sequential([layer, tf_keras.layers.Dense(1)])
        model(tf.constant([1]))
        return model

    for saved, restored in ((None, 3), (3, None), (3, 5)):
        first, second = make(saved), make(restored)
        first.layers[0].table.assign([7], [[5.0]])
        path = str(tmp_path / f"{saved}-{restored}")
        if way == "weights":
            first.save_weights(path)
            second.load_weights(path).assert_consumed()
        else:
            written = tf.train.Checkpoint(model=first).write(path)
            checkpoint = tf.train.Checkpoint(model=second)
            checkpoint.read(written).assert_consumed()
        assert rows_of(second.layers[0].table) == {7: 5.0}


def test_fit_admits_by_feature():
    config = make_config(min_count=8)
    inputs = {n: tf_keras.Input([], dtype="int64", name=n) for n in "ab"}
    with mt.TableSet():
        vectors = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, min_count=4),
                mt.FeatureConfig("b", config),
            ]
        )(inputs)
        model = tf_keras.Model(inputs, vectors["a"] + vectors["b"])
    model.compile(mt.optimizers.with_tables("sgd"), "mae")
    ids = {"a": np.array([1, 1, 1, 2]), "b": np.array([3, 3, 1, 3])}
    model.fit(ids, np.ones(4), batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert sorted(rows_of(model.layers[-2].tables[0])) == [1]


@pytest.mark.parametrize(
    ("admission", "min_count", "error", "message"),
    [
        ({"min_count": 2}, 0, ValueError, "from 1 to 65535 for table 'item'"),
        ({"min_count": 2}, 65536, ValueError, "from 1 to 65535.*=65536"),
        ({"min_count": 2}, 2.0, TypeError, r"integer or None.*=2\.0"),
        ({"min_count": 2}, True, TypeError, "integer or None.*=True"),
        ({"min_count": 1}, 3, ValueError, r"needs a table that counts.*n of 2"),
        ({"probability": 0.5}, 3, ValueError, "needs a table that counts"),
        ({"probability": 0.5}, 0, ValueError, "from 1 to 1 for table 'item'"),
        (
            {"min_count": 2, "sketch_bytes": 4096},
            256,
            ValueError,
            "from 1 to 255.*=256. A table of a min_count above 255",
        ),
        (
            {"min_count": 256, "sketch_bytes": 4096},
            65536,
            ValueError,
            "from 1 to 65535",
        ),
    ],
)
def test_a_bad_min_count_says_what_is_wrong(
    admission, min_count, error, message
):
    config = mt.TableConfig("item", 1, admission=mt.Admission(**admission))
    with pytest.raises(error, match=message):
        mt.FeatureConfig("a", config, min_count=min_count)
    with pytest.raises(error, match=message):
        mt.layers.DynamicEmbedding(config, min_count=min_count)
    with mt.TableSet():
        table = mt.Table(config)
    with pytest.raises(error, match=message):
        table.apply_gradients([7], [[1.0]], min_count=min_count)
    assert table.size() == 0


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_function", [False, True])
def test_a_call_of_apply_gradients_may_have_its_own(
    kind, num_shards, in_function
):
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(make_config(min_count=4, **KINDS[kind]))

    def update(ids, min_count=None):
        def call():
            table.apply_gradients(
                ids, tf.ones([len(ids), 1]), min_count=min_count
            )

        (tf.function(call) if in_function else call)()

    update([7, 8, 9, 9])
    assert table.size() == 0
    update([7, 9], min_count=3)
    assert rows_of(table) == {9: -1}
    update([8], min_count=2)
    assert rows_of(table) == {9: -1, 8: -1}
    # That of the table holds again.
    update([7])
    assert rows_of(table) == {9: -1, 8: -1}
    update([7, 8], min_count=4)
    assert rows_of(table) == {9: -1, 8: -2, 7: -1}


@pytest.mark.parametrize("in_function", [False, True])
def test_a_call_with_gradients_of_a_lookup_may_have_its_own(in_function):
    config = make_config(min_count=4)
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [mt.FeatureConfig("a", config, "sum", min_count=3)]
        )

    def update(min_count):
        def step(ids):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer({"a": ids})["a"])
            gradients = tape.gradient(loss, layer.trainable_variables)
            (slices,) = [slices for slices in gradients if slices is not None]
            layer.tables[0].apply_gradients(
                slices.indices, slices.values, min_count=min_count
            )

        (tf.function(step) if in_function else step)(ragged(1, 2))

    # Without one, that of the table and not of the feature.
    for size, min_count in ((0, None), (0, 3), (0, None), (2, 4)):
        update(min_count)
        assert layer.tables[0].size() == size


@pytest.mark.parametrize("kind", KINDS)
def test_the_core_takes_the_largest_that_a_feature_may_have(kind):
    for min_count in (255, 256):
        config = make_config(min_count=min_count, **KINDS[kind])
        limit = config.admission.max_own_min_count
        with mt.TableSet():
            layer = mt.layers.DynamicEmbedding(config, min_count=limit)
        step = trainer("eager", lambda x, y=layer: [y(x)], layer.variables)
        step(tf.fill([limit - 1], tf.constant(7, tf.int64)))
        assert layer.table.size() == 0
        step(tf.constant([7]))
        assert layer.table.size() == 1
