"""Features that share a table and keep rows for times of their own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.placement.registry import tables_of

# The gradients reach the tables in one op, or as slices of one kind or another.
WAYS = ["fused", "eager", "clipped", "in a function"]
TTL = 100
START = 1_700_000_000


def make_config(name="item", ttl_seconds=TTL, **kwargs):
    return mt.TableConfig(
        name,
        dim=1,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
        eviction=mt.Eviction(ttl_seconds=ttl_seconds),
        **kwargs,
    )


def trainer(way, call, variables):
    """A step whose loss has the gradient 1 for each id that is asked for."""
    clip = {"clipnorm": 1e6} if way == "clipped" else {}
    optimizer = mt.optimizers.with_tables(tf_keras.optimizers.SGD(**clip))
    if way == "in a function":
        call = tf.function(call, reduce_retracing=True)

    def step(inputs, time):
        with mt.event_time(time):
            with tf.GradientTape() as tape:
                loss = tf.add_n([tf.reduce_sum(v) for v in call(inputs)])
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))

    step = step if way == "eager" else tf.function(step, reduce_retracing=True)
    return lambda inputs, time: step(inputs, tf.constant(time, tf.int64))


def rows_of(table):
    return {
        int(id): float(row[0])
        for ids, rows in table.export()
        for id, row in zip(ids, rows, strict=True)
    }


def ragged(*ids):
    """One example."""
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(ids, tf.int64), [len(ids)]
    )


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_row_goes_when_the_last_of_its_ttls_is_over(way, num_shards):
    config = make_config()
    with mt.TableSet(num_shards=num_shards):
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("short", config, "sum", ttl_seconds=10),
                mt.FeatureConfig("middle", config, "sum", ttl_seconds=50),
                mt.FeatureConfig("long", config, "sum"),
            ]
        )
    assert len(layer.trainable_variables) == 3
    (table,) = layer.tables
    step = trainer(
        way,
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )

    def batch(short, middle, long):
        return {
            "short": ragged(*short),
            "middle": ragged(*middle),
            "long": ragged(*long),
        }

    # 1 is short, 2 short and middle, 3 all, 4 long.
    step(batch([1, 2, 3], [2, 3], [3, 4]), START)
    # 4 comes as a short one later; that shortens nothing.
    step(batch([4], [], []), START + 5)
    for seconds, expected in [
        (10, {1, 2, 3, 4}),
        (11, {2, 3, 4}),
        (50, {2, 3, 4}),
        (51, {3, 4}),
        (100, {3, 4}),
        (101, set()),
    ]:
        table.sweep(event_time=START + seconds)
        assert set(rows_of(table)) == expected, seconds
    # Anew: for updates a row is gone at once.
    step(batch([1], [], []), START + 200)
    step(batch([1], [], []), START + 210)
    assert rows_of(table) == {1: -2}
    step(batch([1], [], []), START + 221)
    assert rows_of(table) == {1: -1}


class Oracle:
    """A dict of rows: the sum of what an id learned, and when it goes."""

    def __init__(self, ttl):
        self.ttl = ttl
        self.clock = 0
        self.rows = {}

    def step(self, features, time):
        """Takes the ids of each feature with its ttl, or None."""
        self.clock = max(self.clock, time)
        self.rows = self.alive()
        occurred, longest = {}, {}
        for ids, ttl in features:
            for id in ids:
                occurred[id] = occurred.get(id, 0) + 1
                longest[id] = max(ttl or self.ttl, longest.get(id, 0))
        for id, count in occurred.items():
            learned, deadline = self.rows.get(id, (0, 0))
            deadline = max(deadline, time + longest[id])
            self.rows[id] = (learned - count, deadline)

    def alive(self):
        return {
            id: row for id, row in self.rows.items() if self.clock <= row[1]
        }


@pytest.mark.parametrize(("seed", "way"), enumerate(WAYS))
def test_random_features_agree_with_a_dict(seed, way):
    random = np.random.default_rng(seed)
    configs = [
        make_config(f"table_{number}", int(random.integers(5, 30)))
        for number in range(2)
    ]
    features = [
        mt.FeatureConfig(
            f"{number}",
            configs[number % 2],
            padding_id=0 if random.random() < 0.5 else None,
            ttl_seconds=(
                int(
                    random.integers(1, configs[number % 2].eviction.ttl_seconds)
                )
                if random.random() < 0.6
                else None
            ),
            combiner=["sum", None][number % 2],
        )
        for number in range(6)
    ]
    with mt.TableSet(num_shards=1 + seed % 2):
        layer = mt.layers.EmbeddingCollection(features)
    oracles = {c.name: Oracle(c.eviction.ttl_seconds) for c in configs}
    step = trainer(
        way,
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )
    time = START
    for _ in range(20):
        # Some come late.
        time += int(random.integers(-4, 9))
        batch = {f.name: random.integers(0, 30, [2, 2]) for f in features}
        step({name: tf.constant(ids) for name, ids in batch.items()}, time)
        for table in layer.tables:
            oracle = oracles[table.name]
            oracle.step(
                (
                    (
                        [
                            int(id)
                            for id in batch[f.name].ravel()
                            if id != f.padding_id
                        ],
                        f.ttl_seconds,
                    )
                    for f in features
                    if f.config is table.config
                ),
                time,
            )
            table.sweep(event_time=0)
            expected = {id: row[0] for id, row in oracle.alive().items()}
            assert rows_of(table) == expected


def test_a_ttl_and_a_min_count_go_together():
    config = make_config(admission=mt.Admission(min_count=3))
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, min_count=2, ttl_seconds=10),
                mt.FeatureConfig("b", config, min_count=1),
                mt.FeatureConfig("c", config, ttl_seconds=20),
                mt.FeatureConfig("d", config),
            ]
        )
    assert len(layer.trainable_variables) == 4
    step = trainer(
        "fused",
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )
    ids = {"a": [1, 1, 5], "b": [2, 2, 2], "c": [3, 3, 3], "d": [4, 4, 1]}
    step({name: tf.constant(value) for name, value in ids.items()}, START)
    (table,) = layer.tables
    # 5 occurred once, 4 twice; 1 in d too, so for as long as the table says.
    assert set(rows_of(table)) == {1, 2, 3}
    table.sweep(event_time=START + 21)
    assert set(rows_of(table)) == {1, 2}


@pytest.mark.parametrize("way", ["fused", "eager"])
def test_many_occurrences_of_an_id_leave_its_terms_alone(way):
    config = make_config()
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, ttl_seconds=10),
                mt.FeatureConfig("b", config),
            ]
        )
    step = trainer(
        way,
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )
    (table,) = layer.tables
    many = tf.fill([70_000], tf.constant(7, tf.int64))
    step({"a": many, "b": tf.constant([8])}, START)
    assert rows_of(table) == {7: -70_000, 8: -1}
    table.sweep(event_time=START + 11)
    assert set(rows_of(table)) == {8}


@pytest.mark.parametrize("way", ["checkpoint", "keras"])
def test_what_is_left_of_a_ttl_is_kept_with_the_rows(tmp_path, way):
    config = make_config()
    inputs = {n: tf_keras.Input([], dtype="int64", name=n) for n in "ab"}
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, ttl_seconds=10),
                mt.FeatureConfig("b", config),
            ]
        )
        vectors = layer(inputs)
    model = tf_keras.Model(inputs, vectors["a"] + vectors["b"])
    step = trainer(
        "fused",
        lambda ids: list(layer(ids).values()),
        layer.trainable_variables,
    )
    step({"a": tf.constant([1]), "b": tf.constant([2])}, START)
    if way == "keras":
        model.save(tmp_path / "model.keras")
        with mt.TableSet():
            loaded = tf_keras.models.load_model(tmp_path / "model.keras")
        (table,) = tables_of(loaded)
        features = loaded.get_layer(layer.name).features
        assert [f.ttl_seconds for f in features] == [10, None]
    else:
        path = tf.train.Checkpoint(model=model).write(str(tmp_path / "one"))
        with mt.TableSet(num_shards=2):
            table = mt.Table(config)
        mt.checkpoint.restore_tables(table, path)
    table.sweep(event_time=START + 10)
    assert set(rows_of(table)) == {1, 2}
    table.sweep(event_time=START + 11)
    assert set(rows_of(table)) == {2}


def test_the_ttl_of_the_table_is_no_other():
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(make_config(), ttl_seconds=TTL)
    assert len(layer.trainable_variables) == 1
    assert layer.get_config()["ttl_seconds"] == TTL


@pytest.mark.parametrize(
    ("of_table", "ttl_seconds", "error", "message"),
    [
        (0, 10, ValueError, "from 1 to that of its table.*ttl_seconds=0"),
        (5, 10, ValueError, "the longest ttl_seconds that is needed"),
        (5, 0, ValueError, "ttl_seconds=0 for table 'item'"),
        (1 << 31, 10, ValueError, "must be at most 2147483647"),
        (5, 2.0, TypeError, r"an integer or None.*=2\.0"),
        (5, True, TypeError, "an integer or None.*=True"),
    ],
)
def test_a_bad_ttl_says_what_is_wrong(of_table, ttl_seconds, error, message):
    config = make_config(ttl_seconds=of_table)
    with pytest.raises(error, match=message):
        mt.FeatureConfig("a", config, ttl_seconds=ttl_seconds)
    with pytest.raises(error, match=message):
        mt.layers.DynamicEmbedding(config, ttl_seconds=ttl_seconds)
    with mt.TableSet():
        table = mt.Table(config)
    with pytest.raises(error, match=message):
        table.apply_gradients([7], [[1.0]], ttl_seconds=ttl_seconds)
    assert table.size() == 0


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_call_of_apply_gradients_may_have_its_own(num_shards):
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(make_config())
    ones = tf.ones([2, 1])
    table.apply_gradients([1, 2], ones, event_time=START, ttl_seconds=10)
    table.apply_gradients([2, 3], ones, event_time=START)
    table.sweep(event_time=START + 10)
    assert set(rows_of(table)) == {1, 2, 3}
    table.sweep(event_time=START + 11)
    assert rows_of(table) == {2: -2, 3: -1}
    table.sweep(event_time=START + TTL + 1)
    assert rows_of(table) == {}
