"""A config object stands for one table, whoever asks for it."""

from __future__ import annotations

import gc
import threading

import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt


def make_config(name):
    return mt.TableConfig(
        name,
        2,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
    )


@pytest.mark.parametrize("in_set", [True, False])
def test_threads_that_come_at_once_get_one_table(in_set):
    config = make_config(f"of_threads_{in_set}")
    table_set = mt.TableSet(num_shards=2)
    barrier = threading.Barrier(8)
    tables, errors = [], []

    def work():
        try:
            barrier.wait()
            if in_set:
                with table_set:
                    table = mt.Table.get_or_create(config)
            else:
                table = mt.Table.get_or_create(config)
            table.apply_gradients([1], [[1.0, 1.0]])
            tables.append(table)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(tables) == 8
    assert len(set(map(id, tables))) == 1
    table = tables[0]
    del tables[:], threads
    gc.collect()
    assert table.lookup([1]).numpy().tolist() == [[-8.0, -8.0]]


@pytest.mark.slow
def test_a_config_keeps_its_table_whatever_models_come_after():
    config = make_config("of_first")
    model = tf_keras.Sequential([mt.layers.DynamicEmbedding(config)])
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    model.fit(tf.constant([1, 2], tf.int64), tf.ones([2, 2]), verbose=0)
    (table,) = model.layers[0].tables
    other = mt.Table(make_config("of_first"))
    assert other is not table
    assert mt.Table.get_or_create(config) is table
    assert mt.layers.DynamicEmbedding(config).table is table
    assert other.size() == 0
    assert table.size() == 2


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize(
    ("ids", "rows"),
    [([1], [[5.0], [6.0]]), ([1, 2, 3, 4, 5, 6], [[5.0], [6.0]])],
)
def test_rows_that_are_not_one_an_id_change_nothing(num_shards, ids, rows):
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(mt.TableConfig("item", 1))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, None], tf.float32),
        ]
    )
    def assign(ids, rows):
        table.assign(ids, rows)

    with pytest.raises(
        tf.errors.InvalidArgumentError, match="needs rows of shape"
    ):
        assign(ids, rows)
    assert table.size() == 0
    assign([1, 2], [[5.0], [6.0]])
    assert table.lookup([1, 2]).numpy().tolist() == [[5.0], [6.0]]


def test_ids_that_turn_out_to_be_no_vector_are_refused():
    with mt.TableSet():
        table = mt.Table(mt.TableConfig("item", 1))

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64)])
    def remove(ids):
        return table.remove(ids)

    for ids in (7, [[7]]):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="needs a vector of ids"
        ):
            remove(ids)
    assert int(remove([7])) == 0
