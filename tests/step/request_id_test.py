"""Steps that come twice are applied once."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.placement.table_set import servers_of
from processes import DEADLINE_SECONDS


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


def apply(table, request, ids=(7,), client=None, **options):
    with mt.request_id(request, client):
        table.apply_gradients(ids, [[1.0]] * len(ids), **options)


def test_an_update_that_comes_again_changes_nothing():
    table = make_table()
    for request in (0, 1, 0, 1, 2, (1 << 62) - 1, (1 << 62) - 1):
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
            *(tf.constant(number, tf.int64) for number in (5, 77, 9))
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
    apply(table, 9, ids, client=77, event_time=5)
    np.testing.assert_array_equal(table.lookup(ids), -np.ones([50, 1]))
    counts = mt.metrics.request_counts(table)
    assert (counts.applied, counts.repeated) == ((1, 1), (0, 1))
    assert counts.partial == 0


def send(table, client, sequence):
    """Sends an update to the only server of a table, as a worker does."""
    stamped = 5 + (1 << 62)
    mt.ops.apply(
        servers_of(table.table_set)[0].handle,
        tf.constant([1, stamped, client, sequence, 1, 7, 1], tf.int64),
        tf.constant([1.0, 1.0]),
        tables=["movie"],
        dims=[1],
    )


def test_a_repeat_is_known_however_many_updates_came_between():
    table = make_table()
    handle = servers_of(table.table_set)[0].handle

    @tf.function
    def others(last):
        for sequence in tf.range(last):
            mt.ops.apply(
                handle,
                tf.stack(
                    [
                        tf.constant(1, tf.int64),
                        5 + (1 << 62),
                        6,
                        sequence,
                        1,
                        9,
                        1,
                    ]
                ),
                tf.constant([1.0, 1.0]),
                tables=["movie"],
                dims=[1],
            )

    apply(table, 1)
    others(tf.constant(1 << 16, tf.int64))
    apply(table, 1)
    assert float(table.lookup([7])[0, 0]) == -1.0
    counts = mt.metrics.request_counts(table)
    assert counts.repeated == (1,)
    assert counts.applied == ((1 << 16) + 1,)


def test_a_repeat_that_is_too_old_to_know_is_refused_and_not_applied():
    table = make_table()
    # Every second number is missing.
    for sequence in range(0, 2 * 1024 + 3, 2):
        send(table, 8, sequence)
    before = float(table.lookup([7])[0, 0])
    with pytest.raises(
        tf.errors.FailedPreconditionError,
        match="Request 1 of client 8 is too old to know whether it was applied",
    ):
        send(table, 8, 1)
    assert float(table.lookup([7])[0, 0]) == before
    assert mt.metrics.request_counts(table).refused == (1,)


def test_clients_count_for_themselves():
    table = make_table()
    for client in (1, 2, 1):
        apply(table, 3, client=client)
    apply(table, 3, client=tf.constant(2, tf.int64))
    assert float(table.lookup([7])[0, 0]) == -2.0


COUNTS_FROM_0_AGAIN = """
import monolith_tf as mt

table = mt.Table(
    mt.TableConfig(
        "movie",
        dim=1,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
    )
)
for client in (None, None, 2):
    for number in range(50):
        with mt.request_id(number, client):
            table.apply_gradients([7], [[1.0]])
print("ROW", float(table.lookup([7])[0, 0]))
"""


@pytest.mark.e2e
def test_a_loop_that_counts_from_0_again_is_told_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", COUNTS_FROM_0_AGAIN],
        cwd=tmp_path,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert "ROW -100.0" in done.stdout, done.stderr
    assert done.stderr.count("count its steps from 0 again") == 1


def test_marks_of_clients_are_exported_and_imported():
    table, other = make_table(), make_table()
    for number in (0, 1, 4):
        apply(table, number, client=9)
    (old,), (new,) = (servers_of(t.table_set) for t in (table, other))
    marks = mt.ops.export_requests(old.handle)
    assert marks.numpy().tolist() == [1, 1, 9, 5, 0, 1, 2, 4]
    mt.ops.import_requests(new.handle, marks)
    for number in (0, 1, 2, 4):
        apply(other, number, client=9)
    assert float(other.lookup([7])[0, 0]) == -1.0
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="Request marks must be"
    ):
        mt.ops.import_requests(new.handle, marks[:-1])


def test_marks_that_a_restore_imports_hold_after_it(tmp_path):
    table = make_table()
    apply(table, 3, client=9)
    (server,) = servers_of(table.table_set)
    marks = mt.ops.export_requests(server.handle)
    path = tf.train.Checkpoint(table=table).write(str(tmp_path / "saved"))
    apply(table, 4, client=9)
    with mt.checkpoint.restoring(table):
        mt.checkpoint.restore_tables(table, path)
        mt.ops.import_requests(server.handle, marks)
    for number in (3, 4):
        apply(table, number, client=9)
    assert float(table.lookup([7])[0, 0]) == -2.0


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
        (-1, r"from 0 to 2\^62 - 1. Received: -1"),
        (1 << 62, "Received: 4611686018427387904"),
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
