"""`mt.Table`, with hand-computed numbers."""

from __future__ import annotations

import contextlib
import gc

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1
EVERY_KIND_OF_ID = [0, -1, INT64_MIN, INT64_MAX, 1, 1 << 40]


def make(name="table", **arguments):
    arguments.setdefault("dim", 2)
    arguments.setdefault("optimizer", mt.optimizers.SGD(0.5))
    arguments.setdefault("initializer", mt.initializers.Constant(1.0))
    return mt.Table(mt.TableConfig(name=name, **arguments))


@pytest.fixture(params=[1, 2, 3])
def shards(request):
    with mt.TableSet(num_shards=request.param):
        yield request.param


def test_unseen_id_reads_its_initial_row_and_stays_unseen(shards):
    table = make()
    np.testing.assert_array_equal(table.lookup([7, 8]), [[1, 1], [1, 1]])
    assert table.size() == 0


def test_gradients_of_equal_ids_are_summed_before_the_one_step(shards):
    table = make(optimizer=mt.optimizers.Adagrad(1.0, 0.0))
    table.apply_gradients([7, 7], [[3.0, 0.0], [1.0, 0.0]])
    # One step with gradient 4: 1 - 4 / sqrt(16); two would give less.
    np.testing.assert_allclose(table.lookup([7]), [[0, 1]], atol=1e-6)


def test_sgd_step_by_hand(shards):
    table = make()
    table.apply_gradients([7, 8], [[2.0, 4.0], [0.0, -2.0]])
    np.testing.assert_array_equal(table.lookup([8, 7]), [[1, 2], [0, -1]])


def test_every_int64_is_an_id(shards):
    table = make()
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    table.assign(EVERY_KIND_OF_ID, rows)
    np.testing.assert_array_equal(table.lookup(EVERY_KIND_OF_ID), rows)
    assert table.size() == 6
    assert table.remove(EVERY_KIND_OF_ID) == 6
    assert table.size() == 0


def test_assign_keeps_slots():
    table = make(optimizer=mt.optimizers.Adagrad(1.0, 0.0, 0.0 + 1e-30))
    table.apply_gradients([7], [[3.0, 3.0]])
    table.assign([7], [[0.0, 0.0]])
    table.apply_gradients([7], [[4.0, 4.0]])
    # accumulator 9 + 16 = 25: the step is 4 / 5.
    np.testing.assert_allclose(table.lookup([7]), [[-0.8, -0.8]], rtol=1e-6)


def test_removed_id_starts_fresh_with_its_slots():
    table = make(optimizer=mt.optimizers.Adagrad(1.0, 0.0, 1e-30))
    table.apply_gradients([7], [[3.0, 3.0]])
    table.remove([7])
    table.apply_gradients([7], [[4.0, 4.0]])
    np.testing.assert_allclose(table.lookup([7]), [[0, 0]], atol=1e-6)


def test_clear_removes_every_row(shards):
    table = make()
    table.assign(EVERY_KIND_OF_ID, np.zeros([6, 2], np.float32))
    table.clear()
    assert table.size() == 0
    np.testing.assert_array_equal(table.lookup([0]), [[1, 1]])


def test_export_gives_every_row_once_in_parts(shards):
    table = make()
    ids = np.arange(-50, 50)
    table.assign(ids, np.stack([ids, -ids], axis=1).astype(np.float32))
    found = {}
    for part_ids, part_rows in table.export(batch_size=7):
        assert 1 <= len(part_ids) <= 7
        assert part_rows.shape == (len(part_ids), 2)
        for id, row in zip(part_ids, part_rows, strict=True):
            assert int(id) not in found
            found[int(id)] = row.tolist()
    assert found == {int(id): [float(id), float(-id)] for id in ids}


def test_lookup_with_exists_tells_seen_from_unseen(shards):
    table = make()
    table.assign([5], [[3.0, 4.0]])
    rows, exists = table.lookup_with_exists([5, 6, 5])
    np.testing.assert_array_equal(rows, [[3, 4], [1, 1], [3, 4]])
    np.testing.assert_array_equal(exists, [True, False, True])


def test_memory_grows_with_rows(shards):
    table = make(dim=16)
    before = table.memory_bytes()
    table.assign(np.arange(10_000), np.zeros([10_000, 16], np.float32))
    assert table.memory_bytes() - before >= 10_000 * 16 * 4


def test_lookup_after_apply_in_one_function_reads_the_new_rows(shards):
    table = make()

    @tf.function
    def both(ids):
        before = table.lookup(ids)
        table.apply_gradients(ids, tf.ones([2, 2]))
        return before, table.lookup(ids)

    before, after = both(tf.constant([7, 8], tf.int64))
    np.testing.assert_array_equal(before, [[1, 1], [1, 1]])
    np.testing.assert_array_equal(after, [[0.5, 0.5], [0.5, 0.5]])


def test_order_holds_across_nested_functions():
    table = make()

    @tf.function
    def read(ids):
        return table.lookup(ids)

    @tf.function
    def write(ids):
        table.apply_gradients(ids, tf.ones([1, 2]))

    @tf.function
    def all_of_it(ids):
        rows = [read(ids)]
        for _ in range(3):
            write(ids)
            rows.append(read(ids))
        return tf.concat(rows, axis=0)

    rows = all_of_it(tf.constant([7], tf.int64))
    np.testing.assert_array_equal(rows[:, 0], [1, 0.5, 0, -0.5])


def test_gradient_of_a_lookup_is_slices_of_its_ids():
    table = make()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table.lookup([7, 8, 7]) * [[1.0], [2.0], [3.0]])
    (gradient,) = tape.gradient(loss, table.trainable_variables)
    np.testing.assert_array_equal(gradient.indices, [7, 8, 7])
    np.testing.assert_array_equal(gradient.values, [[1, 1], [2, 2], [3, 3]])


def test_learning_rate_of_a_call_goes_before_the_optimizers():
    table = make()
    table.apply_gradients([7], [[1.0, 1.0]], learning_rate=0.25)
    np.testing.assert_array_equal(table.lookup([7]), [[0.75, 0.75]])


def halving(step):
    return 0.5 ** tf.cast(step + 1, tf.float32)


def test_learning_rate_schedule_sees_the_steps_made_before():
    table = make(optimizer=mt.optimizers.SGD(halving))
    for _ in range(3):
        table.apply_gradients([7], [[1.0, 1.0]])
    np.testing.assert_array_equal(table.lookup([7]), [[0.125, 0.125]])


def test_learning_rate_variable_is_read_at_every_step():
    rate = tf.Variable(0.5)
    table = make(optimizer=mt.optimizers.SGD(rate))
    table.apply_gradients([7], [[1.0, 1.0]])
    rate.assign(0.25)
    table.apply_gradients([7], [[1.0, 1.0]])
    np.testing.assert_array_equal(table.lookup([7]), [[0.25, 0.25]])


def test_event_time_travels_to_the_row(shards):
    table = make()
    table.apply_gradients([7], [[1.0, 1.0]], event_time=1234)
    ((_, last_update, _),) = export_rows(table)
    assert last_update.tolist() == [1234]


def test_get_or_create_returns_the_live_table_of_a_config_object():
    config = mt.TableConfig("shared", dim=2)
    first = mt.Table.get_or_create(config)
    assert mt.Table.get_or_create(config) is first


@pytest.mark.parametrize("in_set", [True, False])
def test_a_second_table_of_a_live_config_is_refused(in_set):
    config = mt.TableConfig("made_once", dim=2)
    with mt.TableSet() if in_set else contextlib.nullcontext():
        first = mt.Table(config)
        with pytest.raises(ValueError, match=r"mt.Table.get_or_create\(config"):
            mt.Table(config)
        assert mt.Table.get_or_create(config) is first


def test_get_or_create_refuses_what_is_not_a_config():
    with pytest.raises(TypeError, match="needs an mt.TableConfig"):
        mt.Table.get_or_create("movie")


def test_remove_returns_the_number_of_rows_removed(shards):
    table = make()
    table.assign([1, 2, 3], np.ones([3, 2]))
    assert table.remove([2, 3, 4]) == 2
    assert isinstance(table.remove([1]), int)
    in_function = tf.function(lambda: table.remove([1]))
    assert in_function().dtype == tf.int64


def test_clocks_hold_the_latest_update_and_time_of_each_shard(shards):
    table = make()
    assert table.table_set.clocks("table") == [(0, 0)] * shards
    table.apply_gradients([7], [[1.0, 1.0]], step=4, event_time=1234)
    assert (5, 1234) in table.table_set.clocks("table")


def test_new_config_of_a_name_is_a_new_table():
    first = make()
    first.assign([7], [[5.0, 5.0]])
    second = make()
    np.testing.assert_array_equal(second.lookup([7]), [[1, 1]])
    np.testing.assert_array_equal(first.lookup([7]), [[5, 5]])


def test_two_configs_of_one_name_in_one_set_are_refused():
    with mt.TableSet():
        first = make(dim=2)
        with pytest.raises(ValueError, match="Two tables are named 'table'"):
            make(dim=3)
    del first


def test_deleted_table_frees_its_name():
    with mt.TableSet() as table_set:
        table = make(dim=2)
        del table
        gc.collect()
        assert not table_set.tables
        assert make(dim=3).dim == 3


def test_wrong_dtype_of_ids_says_what_to_do():
    with pytest.raises(TypeError, match=r"int64 ids.*float32"):
        make().lookup([1.5])
    with pytest.raises(TypeError, match="mt.ids.from_strings"):
        make().lookup(["a"])


def test_wrong_rank_of_ids_says_what_to_do():
    with pytest.raises(ValueError, match=r"vector of ids.*\(1, 2\)"):
        make().lookup([[1, 2]])


def test_wrong_shape_of_gradients_says_both():
    with pytest.raises(ValueError, match=r"\[n, 2\].*\(1, 3\).*\(1,\)"):
        make().apply_gradients([1], [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    "ids",
    [
        tf.ragged.constant([[1], [2, 3]], dtype=tf.int64),
        tf.sparse.from_dense(tf.constant([[1, 0], [2, 3]], tf.int64)),
        [[1], [2, 3]],
    ],
    ids=["ragged", "sparse", "lists"],
)
def test_ids_that_are_no_tensor_are_refused_with_what_to_pass(ids):
    table = make()
    for use in (
        lambda: table.lookup(ids),
        lambda: table.lookup_with_exists(ids),
        lambda: table.assign(ids, [[1.0, 2.0]]),
        lambda: table.remove(ids),
    ):
        message = r"(?s)Table 'table' needs a vector of ids, \[n\].*Pass "
        with pytest.raises(TypeError, match=message):
            use()


@pytest.mark.parametrize(
    "cast",
    [
        np.float16,
        np.float64,
        np.ndarray.tolist,
        lambda rows: [list(row) for row in rows],
        lambda rows: tf.constant(rows, tf.float64),
        lambda rows: tf.constant(rows, tf.bfloat16),
    ],
    ids=["float16", "float64", "list", "numbers", "tensor", "bfloat16"],
)
def test_floats_of_every_size_are_rows_and_gradients(cast):
    table = make()
    table.assign([7], cast(np.array([[0.25, -2.0]])))
    table.apply_gradients([7], cast(np.array([[1.0, 0.5]])))
    np.testing.assert_array_equal(table.lookup([7]), [[-0.25, -2.25]])


@pytest.mark.parametrize(
    "rows",
    [[[1, 2]], np.ones([1, 2], np.int64), np.ones([1, 2], bool), [["1", "2"]]],
    ids=["ints", "int64", "bool", "text"],
)
def test_rows_that_are_no_floats_are_refused(rows):
    table = make()
    message = "needs float32 {}, or other floats, which are cast. Received"
    with pytest.raises(TypeError, match=message.format("rows")):
        table.assign([1], rows)
    with pytest.raises(TypeError, match=message.format("gradients")):
        table.apply_gradients([1], rows)


def test_gradients_of_unequal_lengths_are_refused_with_the_shape():
    with pytest.raises(TypeError, match=r"gradients of shape \[n, 2\] for ids"):
        make().apply_gradients([1, 2], [[1.0, 2.0], [1.0]])


@pytest.mark.parametrize("rate", [0.5, np.float64(0.5), tf.constant(0.5), 1])
def test_one_number_is_a_learning_rate(rate):
    table = make()
    table.apply_gradients([7], [[1.0, 2.0]], learning_rate=rate)
    expected = [[1 - float(rate), 1 - 2 * float(rate)]]
    np.testing.assert_array_equal(table.lookup([7]), expected)


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        ([0.1], ValueError, r"for all segments.*\[0.1\].*\(1,\).*mt.Segment"),
        ([0.1, 0.2], ValueError, r"\(2,\)"),
        ([[0.1], [0.1, 0.2]], TypeError, "Pass a scalar"),
        ("fast", TypeError, "'fast' .of dtype string"),
        (True, TypeError, "True .of dtype bool"),
    ],
)
def test_a_learning_rate_that_is_not_one_number_is_refused(
    rate, error, message
):
    table = make()
    what = f"(?s)Table 'table' needs one number for learning_rate.*{message}"
    with pytest.raises(error, match=what):
        table.apply_gradients([7], [[1.0, 2.0]], learning_rate=rate)
    assert table.size() == 0


def test_table_needs_a_config():
    with pytest.raises(TypeError, match="needs an mt.TableConfig"):
        mt.Table("movie")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dim": -1}, ValueError, "Table 'x': dim must be from 1"),
        ({"dim": 0}, ValueError, "dim=0"),
        ({"dim": 1.5}, TypeError, "must be an integer"),
        ({"name": ""}, ValueError, "1 to 255 bytes"),
        ({"name": 7}, TypeError, "must be a str"),
        ({"name": "a/b"}, ValueError, "must not contain '/'"),
        ({"seed": -1}, ValueError, "seed of table 'x'"),
        ({"optimizer": "adam"}, TypeError, "mt.optimizers"),
        ({"initializer": 0.5}, TypeError, "mt.initializers"),
    ],
)
def test_bad_config_says_what_is_wrong(change, error, message):
    arguments = {"name": "x", "dim": 2, **change}
    with pytest.raises(error, match=message):
        mt.TableConfig(**arguments)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: mt.optimizers.SGD(-1.0), "learning_rate >= 0"),
        (lambda: mt.optimizers.SGD(float("nan")), "finite learning_rate"),
        (lambda: mt.optimizers.Adagrad(0.1, -1.0), "initial_accumulator"),
        (lambda: mt.optimizers.Adagrad(0.1, 0.0, 0.0), "divides by zero"),
        (lambda: mt.optimizers.Adam(beta_1=1.0), "beta_1 < 1"),
        (lambda: mt.optimizers.Adam(epsilon=0.0), "epsilon > 0"),
        (lambda: mt.initializers.RandomUniform(1.0, 1.0), "minval < maxval"),
        (lambda: mt.initializers.TruncatedNormal(stddev=0.0), "stddev > 0"),
        (lambda: mt.initializers.Constant(float("inf")), "finite value"),
        (lambda: mt.TableSet(num_shards=0), "num_shards must be from 1"),
    ],
)
def test_bad_numbers_say_what_is_wrong(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_config_round_trips():
    config = mt.TableConfig(
        "x",
        dim=3,
        optimizer=mt.optimizers.Adam(0.01, beta_2=0.99),
        initializer=mt.initializers.TruncatedNormal(0.5, 0.25),
        seed=(1 << 64) - 1,
    )
    assert mt.TableConfig.from_config(config.get_config()).same_as(config)
