"""Steps that come twice are applied once."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.placement.table_set import servers_of

REMEMBERED = 1 << 16


def make_table(num_shards=1):
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(
            mt.TableConfig(
                "movie",
                dim=1,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
        )


def apply(table, request, ids=(7,), **options):
    with mt.request_id(request):
        table.apply_gradients(ids, [[1.0]] * len(ids), **options)


def test_an_update_that_comes_again_changes_nothing():
    table = make_table()
    for request in (0, 1, 0, 1, 2, (1 << 30) - 1, (1 << 30) - 1):
        apply(table, request)
    assert float(table.lookup([7])[0, 0]) == -4.0
    counts = mt.metrics.request_counts(table)
    assert (counts.applied, counts.repeated) == ((4,), (3,))


def test_updates_without_a_request_id_all_count():
    table = make_table()
    for _ in range(3):
        table.apply_gradients([7], [[1.0]])
    assert float(table.lookup([7])[0, 0]) == -3.0
    assert mt.metrics.request_counts(table).applied == (3,)


def test_the_half_that_one_server_missed_is_all_that_a_repeat_does():
    table = make_table(num_shards=2)
    ids = np.arange(50)
    packed, values = mt.ops.partition_gradients(
        global_step=tf.constant(1, tf.int64),
        event_time=mt.ops.with_request(
            tf.constant(5, tf.int64), tf.constant(9, tf.int64)
        ),
        learning_rates=tf.constant([1.0]),
        ids=[tf.constant(ids)],
        gradients=[tf.ones([50, 1])],
        num_shards=2,
    )
    names = {"tables": ["movie"], "dims": [1]}
    # The first try reaches server 1 and then its worker is lost.
    mt.ops.apply(
        servers_of(table.table_set)[1].handle, packed[1], values[1], **names
    )
    assert mt.metrics.request_counts(table).partial == 1
    apply(table, 9, ids, event_time=5)
    np.testing.assert_array_equal(table.lookup(ids), -np.ones([50, 1]))
    counts = mt.metrics.request_counts(table)
    assert (counts.applied, counts.repeated) == ((1, 1), (0, 1))
    assert counts.partial == 0


@pytest.mark.slow
def test_a_server_remembers_a_bounded_number_of_requests():
    table = make_table()
    handle = servers_of(table.table_set)[0].handle

    @tf.function
    def apply_all(first, last):
        for request in tf.range(first, last):
            stamped = mt.ops.with_request(tf.constant(5, tf.int64), request)
            mt.ops.apply(
                handle,
                tf.stack([tf.constant(1, tf.int64), stamped, 1, 7, 1]),
                tf.constant([1.0, 1.0]),
                tables=["movie"],
                dims=[1],
            )

    zero = tf.constant(0, tf.int64)
    apply_all(zero, zero + REMEMBERED)
    apply_all(zero, zero + 1)
    assert mt.metrics.request_counts(table).repeated == (1,)
    # One more, and the oldest is forgotten.
    apply_all(zero + REMEMBERED, zero + REMEMBERED + 1)
    apply_all(zero, zero + 1)
    assert mt.metrics.request_counts(table).repeated == (1,)
    apply_all(zero + 2, zero + 3)
    assert mt.metrics.request_counts(table).repeated == (2,)
    assert mt.metrics.request_counts(table).applied == (REMEMBERED + 2,)


def test_an_update_that_is_refused_may_come_again():
    table = make_table()
    with pytest.raises(tf.errors.InvalidArgumentError, match="event_time"):
        apply(table, 3, event_time=1 << 32)
    apply(table, 3, event_time=5)
    assert float(table.lookup([7])[0, 0]) == -1.0
    assert mt.metrics.request_counts(table).repeated == (0,)


def test_a_restore_forgets_the_requests_that_came_after(tmp_path):
    table = make_table(num_shards=2)
    apply(table, 1, ids=(7, 8, 9))
    checkpoint = tf.train.Checkpoint(table=table)
    path = checkpoint.write(str(tmp_path / "saved"))
    apply(table, 2, ids=(7, 8, 9))
    checkpoint.read(path).assert_consumed()
    assert table.lookup([7, 8, 9]).numpy().ravel().tolist() == [-1.0] * 3
    apply(table, 2, ids=(7, 8, 9))
    apply(table, 2, ids=(7, 8, 9))
    assert table.lookup([7, 8, 9]).numpy().ravel().tolist() == [-2.0] * 3


@pytest.mark.parametrize("scale", [10**3, 10**6, 10**9])
def test_a_time_that_is_not_in_seconds_is_no_request(scale):
    table = make_table()
    with pytest.raises(tf.errors.InvalidArgumentError, match="event_time"):
        table.apply_gradients([7], [[1.0]], event_time=1_700_000_000 * scale)


def test_request_ids_reach_the_tables_of_a_model():
    with mt.TableSet(num_shards=2):
        layer = mt.layers.DynamicEmbedding(mt.TableConfig("movie", 2))
        model = tf_keras.Sequential([layer])
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step(request, ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(ids))
        gradients = tape.gradient(loss, model.trainable_variables)
        with mt.request_id(request):
            optimizer.apply_gradients(
                zip(gradients, model.trainable_variables, strict=True)
            )

    ids = tf.range(20, dtype=tf.int64)
    for request in (4, 5, 4):
        step(tf.constant(request, tf.int64), ids)
    counts = mt.metrics.request_counts(model)
    assert (counts.applied, counts.repeated) == ((2, 2), (1, 1))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (-1, "from 0 to 1073741823. Received: -1"),
        (1 << 30, "Received: 1073741824"),
    ],
)
def test_a_number_out_of_range_is_refused(number, message):
    with pytest.raises(ValueError, match=message), mt.request_id(number):
        pass


def test_a_vector_is_refused():
    with (
        pytest.raises(ValueError, match=r"a scalar. Received: shape \(2,\)"),
        mt.request_id(tf.constant(0, tf.int64) + tf.zeros([2], tf.int64)),
    ):
        pass


def test_counts_of_a_model_without_tables_are_refused():
    with pytest.raises(
        ValueError, match="needs a model with a table. Received"
    ):
        mt.metrics.request_counts(
            tf_keras.Sequential([tf_keras.layers.Dense(1)])
        )
